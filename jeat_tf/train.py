"""`python -m jeat_tf.train`: trains one net by one method."""

import datetime
import functools
import os
import time
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from jeat_tf import build, cli
from jeat_tf.artifacts import (
    provenance,
    weights_sha256,
    whole_file,
    writable_folder,
    write_json,
    write_text,
)
from jeat_tf.config import TrainConfig, differences, leaves, to_json
from jeat_tf.data import (
    AUGMENTATIONS,
    ImageData,
    as_floats,
    check_labels,
    evaluation_batches,
    split_names,
    training_stream,
    usual_augmentation,
)
from jeat_tf.methods import EnergyClassifier
from jeat_tf.methods.callbacks import Checkpoints, RobustAccuracy, StopOnDivergence
from jeat_tf.methods.monitoring import ChainBoard
from jeat_tf.trained import run_config

_ROBUST_IMAGES = 512  # validation images that robust accuracy is followed on
_ROBUST_STEPS = 10


def train(config: TrainConfig) -> dict[str, Any]:
    """Trains, or goes on training, the run in `config.run.model_dir`.

    Leaves there: `config.json`, `net.keras` (the last net, a plain Keras model), `best.keras`,
    `last.weights.h5` (the state to go on from), `history.json`, `train.json` (result) and TensorBoard's `logs/`.

    Returns:
      result: last epoch's logs, steps, seconds of this call, seconds a step, weights' SHA-256, provenance.

    Raises:
      ValueError: bad settings, another run in model_dir, a damaged checkpoint, a batch larger than the data.
      DivergenceError: the run diverged; the last good checkpoint is kept.
      KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after the step at hand was saved.
    """
    build.check(config)
    data = build.dataset(config.data)
    training, validation = split_names(data, config.stream.validation_percent, config.run.seed)
    size = data.size(training)
    if config.stream.batch_size > size:
        raise ValueError(
            f"expected --batch_size of at most {size}, the training images, received {config.stream.batch_size}"
        )
    folder = writable_folder(config.run.model_dir, "model_dir")
    _refuse_another_run(folder, config)

    keras.utils.set_random_seed(config.run.seed)
    steps_per_epoch = size // config.stream.batch_size
    examples = data.arrays(training)
    check_labels(examples[1], data.num_classes)
    model = _classifier(config, data, examples, steps_per_epoch)
    monitor = config.run.monitor or ("val_robust_accuracy" if config.run.robust_every else "val_accuracy")
    checkpoints = Checkpoints(folder, monitor=monitor, every_steps=config.run.checkpoint_steps)
    first_step = checkpoints.restore(model)
    if first_step:
        print(f"going on from step {first_step} of {steps_per_epoch * config.run.epochs} in {folder}")

    held_out = data.arrays(validation) if validation else None
    shown = held_out or (examples[0][:_ROBUST_IMAGES], examples[1][:_ROBUST_IMAGES])
    callbacks = _callbacks(config, shown, folder, robust=config.run.robust_every if validation else 0)
    augment = config.stream.augment
    stream = functools.partial(
        training_stream,
        *examples,
        batch_size=config.stream.batch_size,
        seed=config.run.seed,
        augment=AUGMENTATIONS[usual_augmentation(data.name) if augment == "usual" else augment],
        separate_marginal=config.stream.separate_marginal,
    )
    write_text(os.path.join(folder, "config.json"), to_json(config))
    started, logs = time.monotonic(), {}
    for first_epoch, last_epoch, steps in _legs(first_step, steps_per_epoch, config.run.epochs):
        history = model.fit(
            stream(first_step=int(model.optimizer.iterations)),
            initial_epoch=first_epoch,
            epochs=last_epoch,
            steps_per_epoch=steps,
            validation_data=held_out and evaluation_batches(tf.data.Dataset.from_tensor_slices(held_out), 256),
            callbacks=[*callbacks, checkpoints],
        )
        logs = {name: values[-1] for name, values in history.history.items()}
    logs = logs or (checkpoints.history[-1] if checkpoints.history else {})
    return _finish(folder, config, model, logs, first_step, started)


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


def _classifier(
    config: TrainConfig, data: ImageData, examples: build.ImagesAndLabels, steps_per_epoch: int
) -> EnergyClassifier:
    net = build.net(config.net, data.image_shape, data.num_classes, config.run.precision)
    objective = build.objective(config, data, lambda: (as_floats(examples[0]), examples[1]))
    model = EnergyClassifier(net, objective, seed=config.run.seed)
    jit = {"auto": "auto", "true": True, "false": False}[config.run.jit_compile]
    model.compile(build.optimizer(config.optimizer, steps_per_epoch), metrics=["accuracy"], jit_compile=jit)
    return model


def _callbacks(config: TrainConfig, shown: build.ImagesAndLabels, folder: str, *, robust: int) -> list:
    images, labels = as_floats(shown[0]), shown[1]
    logs = os.path.join(folder, "logs")
    measured = []
    if robust:
        attack = build.pgd_attack(config.method.epsilon, _ROBUST_STEPS)
        few = slice(0, _ROBUST_IMAGES)
        measured = [RobustAccuracy(images[few], labels[few], attack, every=robust)]
    return [
        StopOnDivergence(max_gap=config.run.max_gap, max_gradient_norm=config.run.max_gradient_norm),
        *measured,
        keras.callbacks.TensorBoard(logs, write_graph=False),
        ChainBoard(
            logs,
            images,
            labels,
            settings={name: value for name, (value, field) in leaves(config).items() if field.metadata["identity"]},
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
    folder: str, config: TrainConfig, model: EnergyClassifier, logs: dict, first_step: int, started: float
) -> dict[str, Any]:
    seconds = time.monotonic() - started
    step = int(model.optimizer.iterations)
    result_path, net_path = os.path.join(folder, "train.json"), os.path.join(folder, "net.keras")
    with whole_file(net_path) as temporary:
        model.net.save(temporary)
    result = {
        "method": config.method.method,
        "seed": config.run.seed,
        "steps": step,
        "parameters": model.net.count_params(),
        "logs": {name: float(value) for name, value in logs.items()},
        "weights_sha256": weights_sha256(model.net),
        "date": datetime.date.today().isoformat(),
        "provenance": provenance(),
    }
    if step > first_step:
        result |= {"seconds": seconds, "seconds_per_step": seconds / (step - first_step)}
        write_json(result_path, result)
    return result


def _main(config: TrainConfig) -> None:
    result = train(config)
    seconds = f"{result['seconds']:.0f} s" if "seconds" in result else "nothing left to do"
    shown = ", ".join(
        f"{name} {result['logs'][name]:.3f}"
        for name in ("val_accuracy", "val_robust_accuracy", "gap")
        if name in result["logs"]
    )
    print(f"{config.method.method}: {result['steps']} steps, {seconds}; {shown}")
    print(f"net in {os.path.join(config.run.model_dir, 'net.keras')}")


if __name__ == "__main__":
    cli.run(TrainConfig, _main)
