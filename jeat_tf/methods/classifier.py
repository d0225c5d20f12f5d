"""The one Keras model with the one train_step."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.data.checks import check_images, check_labels
from jeat_tf.energy import cross_entropy
from jeat_tf.methods.callbacks import Progress
from jeat_tf.methods.objective import Objective
from jeat_tf.methods.updates import Update, descend
from jeat_tf.seeds import fold_in


class EnergyClassifier(keras.Model):
    """Trains a net, images in [0, 1] -> logits, by an objective and an update.

    The net stays a plain Keras model: `classifier.net.save("net.keras")` is what evaluation, sampling and
    serving load. The replay buffer belongs to the training state: `save_weights` carries it, the net does not.

    Example:
      model = EnergyClassifier(net, pgd_at(attack))
      model.compile("adam", metrics=["accuracy"])
      model.fit(images, labels, batch_size=64, epochs=10)

    Training logs hold the mean of the loss, of each of the objective's terms and of `gradient_norm`, the
    latest step's gap and gradient norm (`latest_gap`, `latest_gradient_norm`), and the compiled metrics on the
    images that the loss classifies, x_adv where the method perturbs. Validation is on the images as given.
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
        self.objective = objective
        self.update = update
        self.seed = seed
        # A direct attribute: only then do checkpoints of this model carry it.
        self.replay_buffer = None if objective.negatives is None else objective.negatives.buffer
        self._means = [keras.metrics.Mean(name=name) for name in ("loss", *objective.terms, "gradient_norm")]
        self.built = True

    @property
    def num_classes(self) -> int:
        """K, the width of the net's output."""
        return self.net.output_shape[-1]

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
            samples or classes, which objectives do not know.
        """
        for name in ("sample_weight", "class_weight"):
            if kwargs.get(name) is not None:
                raise ValueError(f"expected fit() without {name}: the objective weighs all images alike")
        self._check(x, y)
        validation = kwargs.get("validation_data")
        if isinstance(validation, (tuple, list)):
            self._check(validation[0], validation[1])
        elif validation is not None:
            self._check(validation, None)
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # a dataset has its own order; Keras warns of its default
        callbacks = keras.tree.flatten(kwargs.pop("callbacks", None) or [])
        if not any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks):
            callbacks.append(Progress())
        return super().fit(x, y, callbacks=callbacks, **kwargs)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        out = self.update(self.net, self.objective, self.optimizer, x, labels, self._step_seed())
        for mean in self._means:
            mean.update_state(out.loss if mean.name == "loss" else out.terms[mean.name])
        self.compute_metrics(x, labels, out.logits)
        latest = {f"latest_{name}": out.terms[name] for name in ("gap", "gradient_norm") if name in out.terms}
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
        seed = fold_in(tf.constant([self.seed, 0]), self.optimizer.iterations.value)
        replicas = tf.distribute.get_replica_context()
        if replicas is None or replicas.num_replicas_in_sync == 1:
            return seed
        return fold_in(seed, replicas.replica_id_in_sync_group)

    def _check(self, x: Any, y: Any) -> None:
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
        check_labels(np.asarray(y), self.num_classes)
