"""A Keras model whose doors check and cast what enters."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.attacks.misfits import warn_of_misfits
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.checks import check_batch_size
from jeat_tf.core.logits import look_at_outputs
from jeat_tf.core.replicas import in_cluster
from jeat_tf.methods.entrances import Entrance, first, in_words, refuse_weights
from jeat_tf.methods.steps import FreeStep
from jeat_tf.models.tracking import check_tracked

_LOOKED_AT = 32  # images whose outputs are looked at, whether they are logits


class GatedModel(keras.Model):
    """A model over a net of images in [0, 1] -> logits, whose `evaluate`, `predict` and batch-wise calls are gated.

    Attributes:
      net: images float32[B, H, W, C] -> logits [B, K].
      image_shape, num_classes: (H, W, C) and K.
    """

    net: keras.Model
    image_shape: tuple[int, int, int]
    num_classes: int
    _looked = _scale_seen = False

    @property
    def steps_taken(self) -> int:
        """Training steps taken."""
        raise NotImplementedError

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras' call, of float images.

        Raises:
          ValueError: integer images, which stand for 0..255.
        """
        if (kind := str(getattr(x, "dtype", ""))) and "int" in kind:
            raise ValueError(f"expected float images in [0, 1], received {kind}; divide integer images by 255")
        return super().__call__(x, *args, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """Keras' `evaluate`, of images and labels that are checked as those of `fit`.

        Raises:
          ValueError: what `fit` refuses.
        """
        refuse_weights("evaluate", kwargs)
        check_batch_size(kwargs.get("batch_size"))
        if not kwargs.get("_use_cached_eval_dataset"):  # the validation of a fit, which has checked it
            x, y = self._entrance().admitted(x, y)
            x = self._look(x)
            self._look_at_scale(x, y)
        with in_words():
            return super().evaluate(x, y, **kwargs)

    def predict(self, x: Any, **kwargs: Any) -> Any:
        """Keras' `predict`: logits float32[N, K] of images that are checked as those of `fit`.

        Raises:
          ValueError: images that `fit` refuses.
        """
        check_batch_size(kwargs.get("batch_size"))
        images, _ = self._entrance(labelled=False).admitted(x)
        with in_words():
            return super().predict(self._look(images), **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, **kwargs: Any) -> Any:
        """Keras' `train_on_batch`, of a batch that is checked as those of `fit`."""
        refuse_weights("train_on_batch", kwargs)
        images, labels = self._entrance(unlabelled=self.objective.unlabelled).batch((x, y))
        self._look(images)
        return super().train_on_batch(images, labels, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, **kwargs: Any) -> Any:
        """Keras' `test_on_batch`, of a batch that is checked as those of `fit`."""
        refuse_weights("test_on_batch", kwargs)
        images, labels = self._entrance().batch((x, y))
        self._look(images)
        self._look_at_scale(images, labels)
        return super().test_on_batch(images, labels, **kwargs)

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Not available.

        Raises:
          NotImplementedError: always, with what to export instead.
        """
        raise NotImplementedError(
            "an EnergyClassifier holds functions and is not exported itself: export its net with "
            "`model.net.export(path)`"
        )

    def predict_on_batch(self, x: Any) -> Any:
        """Keras' `predict_on_batch`, of images that are checked as those of `fit`."""
        images, _ = self._entrance(labelled=False).batch((x,))
        self._look(images)
        return super().predict_on_batch(images)

    def _entrance(self, *, unlabelled: bool = False, labelled: bool = True) -> Entrance:
        return Entrance(self.image_shape, self.num_classes, unlabelled, labelled)

    def _validation(self, data: Any) -> Any:
        """Validation data, checked and cast."""
        if isinstance(data, (tuple, list)):
            if len(data) == 3 and data[2] is not None:
                refuse_weights("fit", {"sample_weight": data[2]})
            return self._entrance().admitted(*data[:2])
        return self._entrance().admitted(data)[0]

    def _look(self, x: Any) -> Any:
        """x itself, after the first images at hand have shown, once, that the net gives logits."""
        if self._looked:
            return x
        if isinstance(x, Iterator):
            return self._looking(x)
        batch = first(x) if isinstance(x, tf.data.Dataset) else x[0] if isinstance(x, keras.utils.PyDataset) else x
        while isinstance(batch, (tuple, list)):
            batch = batch[0]
        if isinstance(batch, (np.ndarray, tf.Tensor)):
            look_at_outputs(self.net, batch[:_LOOKED_AT])
            if not tf.distribute.has_strategy():
                check_tracked(self.net, batch[:1])
            self._looked = True
        return x

    def _look_at_scale(self, x: Any, y: Any) -> None:
        """Gives a warning, once, where a net that was not trained here does not fit images in [0, 1]."""
        if self._scale_seen or self.steps_taken:
            return
        batch = first(x) if isinstance(x, tf.data.Dataset) else x[0] if isinstance(x, keras.utils.PyDataset) else (x, y)
        if not isinstance(batch[0], (np.ndarray, tf.Tensor)):
            return
        images, labels = (np.asarray(part) for part in batch)
        warn_of_misfits(Oracle(inference(self.net)), images, labels)
        self._scale_seen = True

    def _looking(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches of a generator, each after a look."""
        for batch in batches:
            self._look(batch)
            yield batch

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
            if isinstance(self.update, FreeStep):
                self.update.check_batch(size)

    def _maybe_symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        # Keras' look at the shapes of a batch fails where a strategy has several processes (keras#20585). This model is
        # built when it is made.
        if not in_cluster(self.distribute_strategy):
            super()._maybe_symbolic_build(*args, **kwargs)


def cast_batch(data: Any) -> tuple[Any, Any]:
    """Images float32[B, H, W, C] and labels int32[B] of a batch, whatever feeds them.

    Raises:
      ValueError: a batch with weights of samples.
    """
    x, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    if weights is not None:
        raise ValueError("expected (images, labels), received weights of samples: every image counts alike")
    return tf.nest.map_structure(lambda images: tf.cast(images, tf.float32), x), tf.cast(labels, tf.int32)
