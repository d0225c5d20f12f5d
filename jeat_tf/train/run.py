"""`python -m jeat_tf.train`: trains one net by one method."""

import dataclasses
import datetime
import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.attacks.surrogates import cross_entropy
from jeat_tf.attacks.values import PGD
from jeat_tf.config import build
from jeat_tf.config.store import to_json
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import own_folder, whole_file, writable_folder, write_text
from jeat_tf.core.flat import differences, flatten
from jeat_tf.core.generations import LAST, PREVIOUS, finish, weights_file
from jeat_tf.core.provenance import provenance
from jeat_tf.core.types import ImagesAndLabels
from jeat_tf.core.values import nearest
from jeat_tf.data.datasets import as_floats
from jeat_tf.data.image_data import ImageData, StoredImages, digest
from jeat_tf.data.stream import evaluation_batches
from jeat_tf.methods.callbacks import Checkpoints, RobustAccuracy, ValidateAverage
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.energy_changes import EnergyChanges, EnergyRecord
from jeat_tf.methods.guard import Guard
from jeat_tf.methods.inner import attacked, unchanged
from jeat_tf.methods.monitoring import Board
from jeat_tf.methods.overfitting import OverfittingAlarm
from jeat_tf.models.files import weights_sha256
from jeat_tf.models.stored import check_storable, check_stored
from jeat_tf.runs.locks import held
from jeat_tf.runs.second_nets import SecondNet
from jeat_tf.runs.trained import run_config
from jeat_tf.runs.training import FILE, Cost, Training, Watch
from jeat_tf.train.devices import strategy_of
from jeat_tf.train.images import TrainingImages, steps_in_epoch, stream, training_images
from jeat_tf.train.model import classifier, cost_of
from jeat_tf.train.teaching import labelled_by_teacher
from jeat_tf.train.workers import Workers, cluster_of, copy_state, lost

_ROBUST_IMAGES = 512  # validation images that robust accuracy is followed on
_ROBUST_STEPS = 10
_ENERGY_IMAGES = 128  # validation images whose changes of energy are recorded, or compared


def train(config: TrainConfig) -> Training:
    """Trains or resumes the run in `config.run.model_dir`.

    Leaves there: `config.json`, `net.keras` (the last net, a plain Keras model), `best.keras`, `last.weights.h5`
    and `last.json` (the state to resume from, and its digests), `history.json`, `train.json` (result),
    TensorBoard's `logs/`; `guard.json` if the guard recovered or stopped the run, `energy_changes.npz` and
    `overfitting.npz` if they are recorded, and `teacher/` if it labels its own images. While it runs there are also
    the state before, in `previous.weights.h5` and `previous.json`, and the guard's state in `guard-<step>.npz`.
    Only a finished run has `train.json`.

    Returns:
      result: what `train.json` holds; without seconds where nothing was left to do.

    Raises:
      ValueError: bad settings, another run in model_dir, no intact checkpoint, a batch larger than the data.
      FolderInUse: another process writes into model_dir.
      WorkerLost: one of `--workers` has stopped; the same commands resume the run.
      DivergenceError: the run diverged for good; the last event in `guard.json` says where.
      KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after the step at hand was saved.
    """
    cluster = cluster_of(config)
    if cluster is None:
        return _begun(config, strategy_of(config), None)
    try:
        workers = Workers(cluster)
        return _begun(config, workers.strategy, workers)
    except tf.errors.OpError as error:
        raise lost(error, cluster) from error


def _begun(config: TrainConfig, strategy: tf.distribute.Strategy, workers: Workers | None) -> Training:
    data = build.dataset(config.data)
    images = training_images(config, data)
    steps_per_epoch = steps_in_epoch(config, images)
    folder = writable_folder(config.run.model_dir, "model_dir")
    if workers is None or workers.first:
        with held(folder, "jeat_tf.train"):
            _refuse_another_run(folder, config)
            return _train(config, data, images, steps_per_epoch, folder, strategy, workers)
    with tempfile.TemporaryDirectory() as own:  # all compute the same, and the first alone writes into the folder
        return _train(config, data, images, steps_per_epoch, own, strategy, workers)


def _train(
    config: TrainConfig,
    data: ImageData,
    images: TrainingImages,
    steps_per_epoch: int,
    folder: str,
    strategy: tf.distribute.Strategy,
    workers: Workers | None,
) -> Training:
    if workers is not None:
        identity = {name: str(value) for name, value in flatten(config, identity=True).items()}
        workers.agree("settings and images", json.dumps([identity, digest(*images.labelled)], sort_keys=True))
    teacher = None
    if config.stream.pseudo_labels:
        images, teacher = labelled_by_teacher(config, data, images, folder, train)

    keras.utils.set_random_seed(config.run.seed)
    with strategy.scope():
        model = classifier(config, data, images, steps_per_epoch)
    if strategy.num_replicas_in_sync == 1:
        check_storable(model.net)  # before the first step and not after the last
    cost = cost_of(config, model, data)
    monitor = _monitor(config, model, images)
    held_out = images.held_out
    shown = _mixed(held_out or images.labelled, data)
    board = _board(config, shown, folder)
    guard = _guard(config, folder, board)
    energy_changes = _energy_changes(config, model, shown, folder) if config.run.energy_changes_every else None
    overfitting = _overfitting(config, model, shown, folder) if config.watch.overfitting_every else None
    checkpoints = Checkpoints(
        folder,
        monitor=monitor,
        every_steps=config.run.checkpoint_steps,
        guard=guard,
        records=[record for record in (energy_changes, overfitting) if record is not None],
        together=int if workers is None else workers.any_signal,
    )
    first_step = _restored(checkpoints, model, config.run.model_dir, workers)
    if first_step:
        print(f"resuming at step {first_step} of {steps_per_epoch * config.run.epochs} in {folder}")

    measured = _measures(config, shown, robust=config.run.robust_every if held_out else 0)
    watching = [callback for callback in (overfitting, guard, energy_changes) if callback is not None]
    callbacks = [*watching, *measured, board, checkpoints]
    write_text(os.path.join(folder, "config.json"), to_json(config))
    fitted = False
    for first_epoch, last_epoch, steps in _legs(first_step, steps_per_epoch, config.run.epochs, config.run.max_steps):
        if fitted and config.optimizer.ema_momentum:
            checkpoints.restore(model)  # the end of fit has put the average into the net
        model.fit(
            stream(config, data, images, first_step=model.steps_taken),
            initial_epoch=first_epoch,
            epochs=last_epoch,
            steps_per_epoch=steps,
            validation_data=held_out and evaluation_batches(tf.data.Dataset.from_tensor_slices(held_out), 256),
            callbacks=callbacks,
        )
        fitted = True
    events = [] if guard is None else guard.events
    watch = Watch(mode=config.watch.guard, events=tuple(events))
    result = _finish(folder, config, model, checkpoints, first_step, cost, watch, data, images, teacher)
    finish(folder)
    if guard is not None:
        guard.remove_states()  # a longer run begins with a guard that knows of no steps
    return result


def _restored(checkpoints: Checkpoints, model: EnergyClassifier, folder: str, workers: Workers | None) -> int:
    """The step that the run resumes at, in all workers; the first one has put its folder in order by then."""
    if workers is None:
        return checkpoints.restore(model)
    if workers.first:
        step = checkpoints.restore(model)
        workers.meet()
    else:
        workers.meet()
        copy_state(folder, checkpoints.folder)
        step = checkpoints.restore(model)
    workers.agree("state to resume", str(step))
    return step


def _monitor(config: TrainConfig, model: EnergyClassifier, images: TrainingImages) -> str:
    """Name of the log that picks the best net.

    Raises:
      ValueError: the settings name a log that no epoch of this run will have.
    """
    named = config.run.monitor
    if not named:
        return "val_robust_accuracy" if config.run.robust_every else "val_accuracy"
    known = ["loss", f"{model.metric_prefix}accuracy", "gradient_norm", *model.objective.terms]
    if images.held_out is not None:
        known += ["val_loss", "val_accuracy", *(["val_robust_accuracy"] if config.run.robust_every else [])]
    if config.run.energy_changes_every:
        known += EnergyRecord._fields[2:]
    if config.watch.overfitting_every:
        known += ["energy_alignment"]
    if named not in known:
        missing = " without validation images" if named.startswith("val_") and images.held_out is None else ""
        raise ValueError(f'expected --monitor of a log, received "{named}"{missing}; {nearest(named, known)}')
    return named


def _refuse_another_run(folder: str, config: TrainConfig) -> None:
    """Raises ValueError unless the folder holds no run, or this one, which may be resumed."""
    found = run_config(folder)
    if found is not None:
        # More epochs extend a finished run, where the learning rate does not depend on their number.
        longer = config.run.epochs > found.run.epochs and config.optimizer.schedule == "step"
        known = dataclasses.replace(found.run, epochs=config.run.epochs) if longer else found.run
        changed = differences(dataclasses.replace(found, run=known), config)
        if changed:
            raise ValueError(
                f"{folder} holds a run with other settings ({'; '.join(changed)}); give the same settings to "
                "resume it, or another --model_dir"
            )
        if not config.run.resume:
            raise ValueError(f"{folder} holds a run already and --noresume was given; use another --model_dir")
    elif any(os.path.exists(weights_file(folder, name)) for name in (LAST, PREVIOUS)):
        raise ValueError(f"{folder} holds a checkpoint without config.json; use another --model_dir")


def _guard(config: TrainConfig, folder: str, board: Board) -> Guard | None:
    if config.watch.guard == "off":
        return None
    # Where no cross-entropy is trained, accuracy may fall and recover.
    watched: dict[str, Any] = {"max_accuracy_drop": 0.0} if config.method.accuracy_may_fall else {}
    return Guard(
        **watched,
        recoveries=config.watch.guard_recoveries if config.watch.guard == "recover" else 0,
        energy_l2=config.watch.guard_energy_l2,
        max_gap=config.watch.max_gap,
        max_gradient_norm=config.watch.max_gradient_norm,
        path=os.path.join(folder, "guard.json"),
        board=board,
    )


def _mixed(shown: ImagesAndLabels, data: ImageData) -> ImagesAndLabels:
    """The images in an order whose first few are of all classes; those of a file may lie class by class."""
    if not isinstance(data, StoredImages):
        return shown
    order = np.random.default_rng(0).permutation(len(shown[1]))
    return shown[0][order], shown[1][order]


def _overfitting(config: TrainConfig, model: EnergyClassifier, shown: ImagesAndLabels, folder: str) -> OverfittingAlarm:
    return OverfittingAlarm(
        as_floats(shown[0][:_ENERGY_IMAGES]),
        shown[1][:_ENERGY_IMAGES],
        model.objective.perturb,
        config.ball,
        every=config.watch.overfitting_every,
        seed=config.run.seed,
        path=os.path.join(folder, "overfitting.npz"),
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


def _measures(config: TrainConfig, shown: ImagesAndLabels, *, robust: int) -> list[keras.callbacks.Callback]:
    """What adds to the logs, or measures the average of the weights."""
    measured: list[keras.callbacks.Callback] = [ValidateAverage()] if config.optimizer.ema_momentum else []
    if robust:
        images, labels = _few(shown)
        measured.append(RobustAccuracy(images, labels, PGD(config.ball, steps=_ROBUST_STEPS), every=robust))
    return measured


def _board(config: TrainConfig, shown: ImagesAndLabels, folder: str) -> Board:
    settings = {name: value for name, value in flatten(config, identity=True).items() if value is not None}
    logs = own_folder(os.path.join(folder, "logs"))
    return Board(logs, *_few(shown), settings=settings, images_every=config.run.images_every)


def _few(shown: ImagesAndLabels) -> ImagesAndLabels:
    return as_floats(shown[0][:_ROBUST_IMAGES]), shown[1][:_ROBUST_IMAGES]


def _legs(step: int, steps_per_epoch: int, epochs: int, max_steps: int = 0) -> Iterator[tuple[int, int, int]]:
    """(first epoch, epoch to stop before, steps an epoch) of each call of fit from that step on."""
    last = min(max_steps or steps_per_epoch * epochs, steps_per_epoch * epochs)
    epoch, done = divmod(step, steps_per_epoch)
    if done and step < last:
        yield epoch, epoch + 1, min(steps_per_epoch - done, last - step)
        epoch += 1
    whole, rest = divmod(last, steps_per_epoch)
    if epoch < whole:
        yield epoch, whole, steps_per_epoch
        epoch = whole
    if rest and epoch == whole and step < last:
        yield whole, whole + 1, rest


def _finish(
    folder: str,
    config: TrainConfig,
    model: EnergyClassifier,
    checkpoints: Checkpoints,
    first_step: int,
    cost: Cost,
    watch: Watch,
    data: ImageData,
    images: TrainingImages,
    teacher: SecondNet | None,
) -> Training:
    seconds, step = checkpoints.seconds, model.steps_taken
    model.optimizer.finalize_variable_values(model.net.trainable_variables)  # the average, if there is one
    net_path = os.path.join(folder, "net.keras")
    with whole_file(net_path) as temporary:
        model.net.save(temporary)
        if model.distribute_strategy.num_replicas_in_sync == 1:
            check_stored(model.net, temporary)
    last = checkpoints.history[-1] if checkpoints.history else {}
    result = Training(
        **vars(cost),
        method=config.method.word,
        seed=config.run.seed,
        steps=step,
        logs={name: float(value) for name, value in last.items() if name not in ("epoch", "step")},
        weights_sha256=weights_sha256(model.net),
        dataset=data.name,
        data_sha256=digest(*images.labelled),
        class_names=data.class_names if data.named else (),
        guard=watch,
        teacher=teacher,
        date=datetime.date.today().isoformat(),
        provenance=provenance(),
    )
    # A run that was killed after its last state lacks only its result.
    if step > first_step or not os.path.exists(os.path.join(folder, FILE)):
        result = dataclasses.replace(result, seconds=seconds, seconds_per_step=seconds / step)
        result.write(folder)
    return result
