"""The one Keras model with the one train_step."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import check_images, check_labels
from jeat_tf.core.energy import cross_entropy
from jeat_tf.core.seeds import fold_in
from jeat_tf.methods.adjustments import Adjustments
from jeat_tf.methods.callbacks import Progress
from jeat_tf.methods.objective import Objective, mean_over_labelled
from jeat_tf.methods.updates import Free, Update, descend

_WATCHED = ("gap", "gradient_norm", "saturation", "accuracy")  # each step's own value is in the logs
_DEFAULT_BATCH = 32  # of Keras' fit on arrays


class EnergyClassifier(keras.Model):
    """Trains a net, images in [0, 1] -> logits, by an objective and an update.

    The net stays a plain Keras model: `classifier.net.save("net.keras")` is what evaluation, sampling and
    serving load. The replay buffer belongs to the training state: `save_weights` carries it, the net does not.

    Example:
      model = EnergyClassifier(net, pgd_at(attack))
      model.compile("adam", metrics=["accuracy"])
      model.fit(images, labels, batch_size=64, epochs=10)

    Training logs hold the mean of the loss, of each of the objective's terms and of `gradient_norm`; the latest step's
    gap, gradient norm, saturation and accuracy (`latest_gap`, ...); and the compiled metrics on the images that the
    loss classifies, x_adv where the method perturbs. Validation is on the images as given.

    Attributes:
      step: int64[], training steps taken, whatever the optimizer makes of them.
      adjustments: what a guard may change between steps.
      replay_buffer: the objective's persistent chains, or None.
      curriculum: of the objective's negatives, or None.
    """

    def __init__(self, net: keras.Model, objective: Objective, update: Update = descend, seed: int = 0):
        """
        Args:
          net: a built functional or Sequential model, images float32[B, H, W, C] in [0, 1] -> logits [B, K].
          objective: what to minimise, e.g. `jeat(attack, negatives)`.
          update: how the weights move.
          seed: of all inner problems; step t uses fold_in(seed, t), so that a restored run goes on exactly as
            an uninterrupted one.

        Raises:
          ValueError: the net is not built, or its output is not [B, K].
        """
        super().__init__(name=f"{net.name}_classifier")
        if not net.built or len(net.output_shape) != 2:
            raise ValueError(
                "expected a built net with output [B, K], received "
                + (f"output shape {net.output_shape}" if net.built else "a net without input shape")
            )
        self.net = net
        self.update = update
        self.seed = seed
        self.step = self.add_weight(
            name="step",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        # Direct attributes: only then do checkpoints of this model carry them.
        self.adjustments = Adjustments(objective.energy_l2)
        self.replay_buffer = None if objective.negatives is None else objective.negatives.buffer
        self.curriculum = None if objective.negatives is None else objective.negatives.curriculum
        self.objective = dataclasses.replace(
            objective, energy_l2=self.adjustments.energy_l2, chain_rounds=self.adjustments.chain_rounds
        )
        self._means = [keras.metrics.Mean(name=name) for name in ("loss", *objective.terms, "gradient_norm")]
        self.built = True

    @property
    def num_classes(self) -> int:
        """K, the width of the net's output."""
        return self.net.output_shape[-1]

    @property
    def steps_taken(self) -> int:
        """`step` as a number, under any distribution strategy."""
        return int(keras.ops.convert_to_numpy(self.step))

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits float[B, K]."""
        return self.net(x, training=training)

    def compile(self, optimizer: Any = "adam", *, loss: None = None, **kwargs: Any) -> None:
        """Keras' `compile` without a loss: the objective is the loss.

        Raises:
          ValueError: a loss is given.
        """
        if loss is not None:
            raise ValueError(
                f"expected compile() without a loss, received {loss!r}: the objective given to EnergyClassifier "
                "is what is minimised"
            )
        super().compile(optimizer, **kwargs)
        self.optimizer.build(self.net.trainable_variables)
        if kwargs.get("metrics") and not tf.distribute.has_strategy():
            # Metrics that make their variables inside train_step cause it to be traced twice.
            self.compute_metrics(None, tf.zeros([1], tf.int64), tf.zeros([1, self.num_classes]))
            self.reset_metrics()

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """Keras' `fit`, after a check of the images and labels (all of an array, the first batch of a dataset).

        Raises:
          ValueError: images outside [0, 1], not finite or not float; labels out of range or one-hot; weights of
            samples or classes, which objectives do not know; batches that the replay buffer or `Free` cannot serve.
        """
        for name in ("sample_weight", "class_weight"):
            if kwargs.get(name) is not None:
                raise ValueError(f"expected fit() without {name}: the objective weighs all images alike")
        self._check(x, y, unlabelled=self.objective.unlabelled)
        self._check_batches(x, kwargs.get("batch_size") or _DEFAULT_BATCH)
        validation = kwargs.get("validation_data")
        if isinstance(validation, (tuple, list)):
            self._check(validation[0], validation[1])
        elif validation is not None:
            self._check(validation, None)
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # a dataset has its own order; Keras warns of its default
            if isinstance(self.update, Free) and not tf.distribute.has_strategy():
                x = x.map(self.update.checked)
        callbacks = keras.tree.flatten(kwargs.pop("callbacks", None) or [])
        if not any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks):
            callbacks.append(Progress())
        return super().fit(x, y, callbacks=callbacks, **kwargs)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        out = self.update(self.net, self.objective, self.optimizer, x, labels, self._step_seed())
        for mean in self._means:
            mean.update_state(out.loss if mean.name == "loss" else out.terms[mean.name])
        known = tf.cast(labels >= 0, tf.float32) if self.objective.unlabelled else None
        self.compute_metrics(x, labels, out.logits, sample_weight=known)
        if self.curriculum is not None:
            self.curriculum.update(out.terms["auc"])
        self.step.assign_add(1)
        right = tf.argmax(out.logits, axis=-1, output_type=labels.dtype) == labels
        terms = out.terms | {"accuracy": mean_over_labelled(tf.cast(right, tf.float32), labels)}
        latest = {f"latest_{name}": terms[name] for name in _WATCHED if name in terms}
        return self.get_metrics_result() | latest

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        logits = self.net(x, training=False)
        loss = self._means[0]
        loss.update_state(tf.reduce_mean(cross_entropy(logits, labels)), sample_weight=tf.shape(labels)[0])
        self.compute_metrics(x, labels, logits)
        of_training = {mean.name for mean in self._means[1:]}
        return {k: v for k, v in self.get_metrics_result().items() if k not in of_training}

    def get_config(self) -> dict:
        raise NotImplementedError(
            "an EnergyClassifier holds functions and is not saved itself: save its net with "
            "`model.net.save(path)`, its training state with `model.save_weights(path)`"
        )

    def _step_seed(self) -> tf.Tensor:
        seed = fold_in(tf.constant([self.seed, 0]), self.step.value)
        replicas = tf.distribute.get_replica_context()
        if replicas is None or replicas.num_replicas_in_sync == 1:
            return seed
        return fold_in(seed, replicas.replica_id_in_sync_group)

    def _check_batches(self, x: Any, batch_size: int) -> None:
        """Looks at all batches of an array, and at the shape of a dataset's where that says enough."""
        if isinstance(x, (np.ndarray, tf.Tensor)):
            sizes = {min(batch_size, len(x)), len(x) % batch_size or batch_size}
        elif isinstance(x, tf.data.Dataset):
            sizes = {tf.nest.flatten(x.element_spec)[0].shape[0]} - {None}
        else:
            return
        for size in sizes:
            if self.replay_buffer is not None and size > self.replay_buffer.size:
                raise ValueError(
                    f"expected batches of at most {self.replay_buffer.size} images, as many as the replay buffer has "
                    f"slots, received {size}; make the buffer larger, or the batches smaller"
                )
            if isinstance(self.update, Free):
                self.update.check_batch(size)

    def _check(self, x: Any, y: Any, *, unlabelled: bool = False) -> None:
        if isinstance(x, tf.data.Dataset):
            first = next(iter(x.take(1)), None)
            if first is None:
                raise ValueError("expected a dataset of (images, labels), received an empty one")
            if len(first) != 2:
                raise ValueError(f"expected elements (images, labels), received {len(first)} parts")
            x, y = first
        elif not isinstance(x, (np.ndarray, tf.Tensor)):
            return  # a generator: looking would consume it
        elif y is None:
            raise ValueError("expected labels with the images, received y=None")
        for images in x if isinstance(x, (tuple, list)) else [x]:
            check_images(np.asarray(images))
        check_labels(np.asarray(y), self.num_classes, unlabelled=unlabelled)
