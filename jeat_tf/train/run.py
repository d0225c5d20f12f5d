"""`python -m jeat_tf.train`: trains one net by one method."""

import dataclasses
import datetime
import os
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.attacks.surrogates import cross_entropy, inference, marginal_energy
from jeat_tf.attacks.values import PGD
from jeat_tf.config import build
from jeat_tf.config.store import to_json
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import remove_partial, whole_file, writable_folder, write_json, write_text
from jeat_tf.core.flat import differences, flatten
from jeat_tf.core.loops import input_gradient
from jeat_tf.core.provenance import provenance
from jeat_tf.core.types import ImagesAndLabels
from jeat_tf.core.values import nearest
from jeat_tf.data.datasets import ImageData, as_floats
from jeat_tf.data.stream import evaluation_batches
from jeat_tf.methods.accounting import activation_bytes, buffer_bytes, count_passes, forward_flops, step_flops
from jeat_tf.methods.callbacks import Checkpoints, RobustAccuracy, ValidateAverage
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.energy_changes import EnergyChanges, EnergyRecord
from jeat_tf.methods.guard import Guard
from jeat_tf.methods.inner import attacked, unchanged
from jeat_tf.methods.monitoring import ChainBoard
from jeat_tf.methods.updates import Free
from jeat_tf.models.files import load_net, weights_sha256
from jeat_tf.models.flow import initialize_flow
from jeat_tf.models.nets import Glow
from jeat_tf.runs.trained import run_config
from jeat_tf.train.devices import strategy_of
from jeat_tf.train.images import TrainingImages, steps_in_epoch, stream, training_images

_ROBUST_IMAGES = 512  # validation images that robust accuracy is followed on
_ROBUST_STEPS = 10
_ENERGY_IMAGES = 128  # validation images whose changes of energy are recorded
_FLOW_IMAGES = 256  # that a flow's ActNorms are set by
_TIMED_STEPS, _TIMED_IMAGES, _LONGEST_TIMED = 9, 4, 10.0  # of a dry run: steps, images, seconds a step


def train(config: TrainConfig) -> dict[str, Any]:
    """Trains, or goes on training, the run in `config.run.model_dir`.

    Leaves there: `config.json`, `net.keras` (the last net, a plain Keras model), `best.keras`,
    `last.weights.h5` (the state to go on from), `history.json`, `train.json` (result), TensorBoard's `logs/`;
    `guard.json` if the guard recovered or stopped the run, `energy_changes.npz` if they are recorded, and `teacher/`
    if it labels its own images. While it runs there is also `guard-<step>.npz`, which a guard goes on from. Only a run
    that came to its end has `train.json`.

    Returns:
      result: last epoch's logs, steps, seconds of this call, seconds a step, what a step costs, the guard's
        recoveries, weights' SHA-256, provenance.

    Raises:
      ValueError: bad settings, another run in model_dir, a damaged checkpoint, a batch larger than the data.
      DivergenceError: the run diverged for good; the last event in `guard.json` says where.
      KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after the step at hand was saved.
    """
    strategy = strategy_of(config)
    data = build.dataset(config.data)
    images = training_images(config, data)
    steps_per_epoch = steps_in_epoch(config, images)
    folder = writable_folder(config.run.model_dir, "model_dir")
    remove_partial(folder)
    _refuse_another_run(folder, config)
    if config.stream.pseudo_labels:
        images = images._replace(extra=_pseudo_labelled(config, images, folder))

    keras.utils.set_random_seed(config.run.seed)
    with strategy.scope():
        model = _classifier(config, data, images, steps_per_epoch)
    cost = _cost(config, model, data)
    monitor = _monitor(config, model, images)
    guard = _guard(config, folder)
    checkpoints = Checkpoints(folder, monitor=monitor, every_steps=config.run.checkpoint_steps, guard=guard)
    first_step = checkpoints.restore(model)
    if first_step:
        print(f"resuming at step {first_step} of {steps_per_epoch * config.run.epochs} in {folder}")

    held_out = images.held_out
    shown = held_out or images.labelled
    callbacks = _callbacks(config, shown, folder, robust=config.run.robust_every if held_out else 0)
    if config.run.energy_changes_every:
        callbacks.insert(0, _energy_changes(config, model, shown, folder))
    callbacks = [*([guard] if guard else []), *callbacks, checkpoints]
    write_text(os.path.join(folder, "config.json"), to_json(config))
    started = time.monotonic()
    logs: dict[str, Any] = {}
    for first_epoch, last_epoch, steps in _legs(first_step, steps_per_epoch, config.run.epochs):
        if logs and config.optimizer.ema_momentum:
            checkpoints.restore(model)  # the end of fit has put the average into the net
        history = model.fit(
            stream(config, data, images, first_step=model.steps_taken),
            initial_epoch=first_epoch,
            epochs=last_epoch,
            steps_per_epoch=steps,
            validation_data=held_out and evaluation_batches(tf.data.Dataset.from_tensor_slices(held_out), 256),
            callbacks=callbacks,
        )
        logs = {name: values[-1] for name, values in history.history.items()}
    logs = logs or (checkpoints.history[-1] if checkpoints.history else {})
    events = [] if guard is None else guard.events
    if guard is not None:
        guard.remove_states()  # nothing goes on from here
    return _finish(
        folder,
        config,
        model,
        logs,
        first_step,
        started,
        cost | {"dataset": data.name, "guard": {"mode": config.watch.guard, "events": events}},
    )


def plan(config: TrainConfig) -> dict[str, Any]:
    """What a run would cost, from a few steps of it, or from one gradient where a step takes long; writes nothing.

    Returns:
      plan: parameters, passes and FLOPs of a step, bytes of activations and buffer, seconds of a step and how they
        are known, steps of the run, and the hours that follow; `teacher_hours`, which are among these, of a net that is
        trained first to label images.

    Raises:
      ValueError: bad settings, a batch larger than the data.
    """
    data = build.dataset(config.data)
    images = training_images(config, data)
    steps_per_epoch = steps_in_epoch(config, images)
    taught = {}
    if config.stream.pseudo_labels:
        assert images.extra is not None  # settings without them are refused
        images = images._replace(extra=(images.extra[0], np.zeros_like(images.extra[1])))  # any label takes as long
        if config.stream.pseudo_labels == "self":
            taught = {"teacher_hours": plan(config.teacher(""))["hours"]}
    keras.utils.set_random_seed(config.run.seed)
    model = _classifier(config, data, images, steps_per_epoch)
    cost = _cost(config, model, data)
    seconds = cost["flops_per_step"] / _speed(model.net, cost["forward_flops_per_image"])
    basis = f"FLOPs of a step at the speed of a gradient of {_TIMED_IMAGES} images"
    if seconds <= _LONGEST_TIMED:
        clock = _StepClock()
        batches = stream(config, data, images, first_step=0)
        model.fit(batches, steps_per_epoch=_TIMED_STEPS + 1, verbose=0, callbacks=[clock])
        seconds = float(np.median(clock.seconds[1:]))  # the first one traces
        basis = f"median of {_TIMED_STEPS} steps"
    steps = steps_per_epoch * config.run.epochs
    hours = seconds * steps / 3600 + sum(taught.values())
    return cost | {"seconds_per_step": seconds, "basis": basis, "steps": steps, "hours": hours} | taught


def _speed(net: keras.Model, flops: float) -> float:
    """FLOPs a second, in gradients of a few images."""
    x = tf.fill([_TIMED_IMAGES, *net.input_shape[1:]], 0.5)
    gradient = tf.function(lambda: input_gradient(marginal_energy(inference(net)), x), autograph=False)
    gradient()
    begun = time.perf_counter()
    gradient().numpy()
    return 2 * flops * _TIMED_IMAGES / (time.perf_counter() - begun)


class _StepClock(keras.callbacks.Callback):
    def on_train_begin(self, logs: dict | None = None) -> None:
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._begun = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.seconds.append(time.perf_counter() - self._begun)


def _pseudo_labelled(config: TrainConfig, images: TrainingImages, folder: str) -> ImagesAndLabels:
    """The images without labels, labelled by a net (Carmon et al., 2019)."""
    path = config.stream.pseudo_labels
    if path == "self":
        path = os.path.join(folder, "teacher")
        train(config.teacher(path))
    assert images.extra is not None  # settings without them are refused
    added = images.extra[0]
    predicted = load_net(path).predict(
        evaluation_batches(tf.data.Dataset.from_tensor_slices((added, images.extra[1])), 256), verbose=0
    )
    return added, predicted.argmax(-1).astype(images.extra[1].dtype)


def _monitor(config: TrainConfig, model: EnergyClassifier, images: TrainingImages) -> str:
    """Name of the log that picks the best net.

    Raises:
      ValueError: one is asked for that no epoch of this run will have.
    """
    named = config.run.monitor
    if not named:
        return "val_robust_accuracy" if config.run.robust_every else "val_accuracy"
    known = ["loss", "accuracy", "gradient_norm", *model.objective.terms]
    if images.held_out is not None:
        known += ["val_loss", "val_accuracy", *(["val_robust_accuracy"] if config.run.robust_every else [])]
    if config.run.energy_changes_every:
        known += EnergyRecord._fields[2:]
    if named not in known:
        missing = " without validation images" if named.startswith("val_") and images.held_out is None else ""
        raise ValueError(f'expected --monitor of a log, received "{named}"{missing}; {nearest(named, known)}')
    return named


def _refuse_another_run(folder: str, config: TrainConfig) -> None:
    """Raises ValueError unless the folder is empty of runs, or holds this one and may go on with it."""
    found = run_config(folder)
    if found is not None:
        changed = differences(found, config)
        if changed:
            raise ValueError(
                f"{folder} holds a run with other settings ({'; '.join(changed)}); give the same settings to go "
                "on with it, or another --model_dir"
            )
        if not config.run.resume:
            raise ValueError(f"{folder} holds a run already and --noresume was given; use another --model_dir")
    elif os.path.exists(os.path.join(folder, "last.weights.h5")):
        raise ValueError(f"{folder} holds a checkpoint without config.json; use another --model_dir")


def _classifier(config: TrainConfig, data: ImageData, images: TrainingImages, steps_per_epoch: int) -> EnergyClassifier:
    run = config.run
    net = build.net(config.net, data.image_shape, data.num_classes, precision=run.precision, init_from=run.init_from)
    update = config.update
    if isinstance(update, Free):
        update = dataclasses.replace(update, ball=config.ball, batch_size=config.stream.batch_size)
    model = EnergyClassifier(net, config.method, update, unlabelled=config.unlabelled, seed=run.seed)
    if isinstance(config.net, Glow) and not run.init_from:
        some = np.random.default_rng(config.run.seed).permutation(len(images.labelled[0]))[:_FLOW_IMAGES]
        x = model.objective.perturb(net, as_floats(images.labelled[0][some]), None, tf.constant([config.run.seed, 5]))
        initialize_flow(net, x)
    jit = {"auto": "auto", "true": True, "false": False}[config.run.jit_compile]
    optimizer = build.optimizer(config.optimizer, steps_per_epoch, config.run.epochs, model.adjustments)
    model.adapt(as_floats(images.labelled[0]), images.labelled[1])
    # Weighed by whether the label is known.
    model.compile(optimizer, weighted_metrics=["accuracy"], jit_compile=jit)
    return model


def _cost(config: TrainConfig, model: EnergyClassifier, data: ImageData) -> dict[str, Any]:
    batch_size = config.stream.batch_size
    passes = count_passes(
        model.objective,
        model.update,
        data.image_shape,
        data.num_classes,
        batch_size,
        separate_marginal=config.stream.separate_marginal,
    )
    flops = forward_flops(model.net)
    return {
        "parameters": model.net.count_params(),
        "passes_per_step": dataclasses.asdict(passes),
        "forward_flops_per_image": flops,
        "flops_per_step": step_flops(passes, flops, batch_size),
        "activation_bytes": activation_bytes(model.net, batch_size),
        "buffer_bytes": buffer_bytes(model.objective),
    }


def _guard(config: TrainConfig, folder: str) -> Guard | None:
    if config.watch.guard == "off":
        return None
    # Where no cross-entropy is trained, accuracy comes and goes.
    watched: dict[str, Any] = {"max_accuracy_drop": 0.0} if config.method.accuracy_may_fall else {}
    return Guard(
        **watched,
        recoveries=config.watch.guard_recoveries if config.watch.guard == "recover" else 0,
        energy_l2=config.watch.guard_energy_l2,
        max_gap=config.watch.max_gap,
        max_gradient_norm=config.watch.max_gradient_norm,
        path=os.path.join(folder, "guard.json"),
        log_dir=os.path.join(folder, "logs"),
    )


def _energy_changes(config: TrainConfig, model: EnergyClassifier, shown: ImagesAndLabels, folder: str) -> EnergyChanges:
    # Methods that train on the images as they are have no x_adv of their own: theirs is the attack of the settings.
    perturb = model.objective.perturb
    if perturb is unchanged:
        perturb = attacked(cross_entropy, PGD(config.ball, steps=1))
    return EnergyChanges(
        as_floats(shown[0][:_ENERGY_IMAGES]),
        shown[1][:_ENERGY_IMAGES],
        perturb,
        every=config.run.energy_changes_every,
        seed=config.run.seed,
        path=os.path.join(folder, "energy_changes.npz"),
    )


def _callbacks(config: TrainConfig, shown: ImagesAndLabels, folder: str, *, robust: int) -> list:
    images, labels = as_floats(shown[0][:_ROBUST_IMAGES]), shown[1][:_ROBUST_IMAGES]
    logs = os.path.join(folder, "logs")
    measured = []
    if config.optimizer.ema_momentum:
        measured.append(ValidateAverage())
    if robust:
        attack = PGD(config.ball, steps=_ROBUST_STEPS)
        measured.append(RobustAccuracy(images, labels, attack, every=robust))
    return [
        *measured,
        keras.callbacks.TensorBoard(logs, write_graph=False),
        ChainBoard(
            logs,
            images,
            labels,
            settings={name: value for name, value in flatten(config, identity=True).items() if value is not None},
            images_every=config.run.images_every,
        ),
    ]


def _legs(step: int, steps_per_epoch: int, epochs: int) -> Iterator[tuple[int, int, int]]:
    """(first epoch, epoch to stop before, steps an epoch) of each call of fit from that step on."""
    epoch, done = divmod(step, steps_per_epoch)
    if done and epoch < epochs:
        yield epoch, epoch + 1, steps_per_epoch - done
        epoch += 1
    if epoch < epochs:
        yield epoch, epochs, steps_per_epoch


def _finish(
    folder: str,
    config: TrainConfig,
    model: EnergyClassifier,
    logs: dict,
    first_step: int,
    started: float,
    more: dict[str, Any],
) -> dict[str, Any]:
    seconds = time.monotonic() - started
    step = model.steps_taken
    model.optimizer.finalize_variable_values(model.net.trainable_variables)  # the average, if there is one
    result_path, net_path = os.path.join(folder, "train.json"), os.path.join(folder, "net.keras")
    with whole_file(net_path) as temporary:
        model.net.save(temporary)
    result = {
        "method": config.method.word,
        "seed": config.run.seed,
        "steps": step,
        "logs": {name: float(value) for name, value in logs.items()},
        "weights_sha256": weights_sha256(model.net),
        "date": datetime.date.today().isoformat(),
        "provenance": provenance(),
    } | more
    if step > first_step:
        result |= {"seconds": seconds, "seconds_per_step": seconds / (step - first_step)}
        write_json(result_path, result)
    return result
