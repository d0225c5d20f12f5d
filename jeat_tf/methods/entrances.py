"""What enters `fit`, `evaluate` and `predict`, of every kind that Keras takes: checked and cast batch by batch."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import admit_images, admit_labels

_MARK = "This batch was refused: "  # what a message from inside a graph begins with
_METRICS = ("categorical", "binary", "auc", "crossentropy", "precision", "recall", "hinge", "divergence", "cosine")
_IMAGES, _LABELS = ("image", "images", "x"), ("label", "labels", "y")
_EMPTY = "expected a dataset of (images, labels), received an empty one"
_WEIGHTED = "expected (images, labels), received {} parts; weights of samples are not used: every image counts alike"


class Entrance(NamedTuple):
    """What may enter.

    Attributes:
      image_shape: (H, W, C) of the net.
      num_classes: K.
      unlabelled: labels may be -1.
      labelled: labels are needed; False for `predict`, which takes images alone.
    """

    image_shape: tuple[int, ...]
    num_classes: int
    unlabelled: bool = False
    labelled: bool = True

    def admitted(self, x: Any, y: Any = None) -> tuple[Any, Any]:
        """(x, y) for Keras, of float32 images in [0, 1] and int32 labels.

        Arrays are looked at whole. Datasets, `keras.utils.PyDataset`s and generators are wrapped, so that each batch
        is looked at when it comes; their first batch is looked at now, except a generator's, which Keras asks for.

        Raises:
          ValueError: what the gate refuses, sample weights, or anything else.
        """
        if isinstance(x, tf.data.Dataset):
            self._refuse_labels(y)
            self._first(first(x))
            return x.map(tf.autograph.experimental.do_not_convert(self._in_graph)), None
        if isinstance(x, keras.utils.PyDataset):
            self._refuse_labels(y)
            if x.num_batches == 0:
                raise ValueError(_EMPTY)
            self._first(x[0])
            return _AdmittedBatches(x, self._for_keras), None
        if isinstance(x, tf.distribute.DistributedDataset):
            self._refuse_labels(y)
            parts = tf.nest.map_structure(_local, next(iter(x)))
            self.batch(parts)
            return x, None
        if isinstance(x, Iterator):
            self._refuse_labels(y)
            return (self._for_keras(batch) for batch in x), None
        if isinstance(x, Iterable) or hasattr(x, "__array__"):
            if self.labelled and y is None:
                raise ValueError(
                    f"expected labels with the images, received {type(x).__name__} alone; give images and labels, or "
                    "batches of both by a tf.data.Dataset, a keras.utils.PyDataset or iter(...)"
                )
            return self.batch((x, y) if self.labelled else (x,))
        raise ValueError(
            "expected arrays of images and labels, a tf.data.Dataset, a keras.utils.PyDataset or a generator of "
            f"batches (images, labels), received {type(x).__name__}"
        )

    def batch(self, batch: Any) -> tuple[Any, Any]:
        """One batch (images, labels), checked and cast; labels are None where they are not needed.

        Raises:
          ValueError: what the gate refuses, or more parts than two.
        """
        x, y = self._parts(batch)
        if _is_pair(x):
            images: Any = tuple(admit_images(one, image_shape=self.image_shape) for one in x)
        else:
            images = admit_images(x, image_shape=self.image_shape)
        if not self.labelled:
            return images, None
        labels = admit_labels(y, self.num_classes, unlabelled=self.unlabelled)
        first_images = images[0] if isinstance(images, tuple) else images
        if len(first_images) != len(labels):
            raise ValueError(f"expected a label for each of {len(first_images)} images, received {len(labels)}")
        return images, labels

    def _first(self, batch: Any) -> None:
        """Looks at the first batch of a dataset."""
        shape = getattr(self._parts(batch)[0], "shape", ())
        if len(shape) == 3:
            raise ValueError(
                f"expected batches of images [B, H, W, C], received single ones of shape {list(shape)}; give "
                "dataset.batch(32)"
            )
        self.batch(batch)

    def _for_keras(self, batch: Any) -> tuple[Any, ...]:
        images, labels = self.batch(batch)
        return (images, labels) if self.labelled else (images,)

    def _parts(self, batch: Any) -> tuple[Any, Any]:
        if isinstance(batch, dict):
            batch = _of_dict(batch, labelled=self.labelled)
        if not isinstance(batch, (tuple, list)):
            batch = (batch,)
        if len(batch) == 3 and batch[2] is None:
            batch = batch[:2]
        if len(batch) > 2:
            raise ValueError(_WEIGHTED.format(len(batch)))
        if self.labelled and (len(batch) < 2 or batch[1] is None):
            raise ValueError("expected (images, labels), received images alone")
        return batch[0], batch[1] if self.labelled else None

    def _in_graph(self, *parts: Any) -> Any:
        """A batch of a dataset, cast, with its values checked as it comes."""
        x, y = self._parts(parts[0] if len(parts) == 1 else parts)
        images = tuple(map(self._images_in_graph, x)) if isinstance(x, (tuple, list)) else self._images_in_graph(x)
        if not self.labelled:
            return images
        labels = tf.reshape(y, [-1])  # [B, 1] too, of whatever rank the dataset knows
        low = -1 if self.unlabelled else 0
        within = tf.reduce_all((labels >= tf.cast(low, labels.dtype)) & (tf.cast(labels, tf.int64) < self.num_classes))
        said = f"{_MARK}expected labels in {low}..{self.num_classes - 1}, one for each image, received others"
        if labels.dtype.is_unsigned:
            within = tf.reduce_all(tf.cast(labels, tf.int64) < self.num_classes)
        within &= tf.size(labels) == tf.shape(images[0] if isinstance(images, tuple) else images)[0]
        with tf.control_dependencies([tf.debugging.Assert(within, [said])]):
            return images, tf.cast(labels, tf.int32)

    def _images_in_graph(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        if not images.shape[1:].is_fully_defined():
            shape = tf.shape(images)
            same = tf.reduce_all(tf.equal(tf.size(shape), 4)) & tf.reduce_all(shape[1:] == self.image_shape)
            said = f"{_MARK}expected images of shape {list(self.image_shape)}, received others"
            with tf.control_dependencies([tf.debugging.Assert(same, [said])]):
                images = tf.identity(images)
            images.set_shape([None, *self.image_shape])
        fits = tf.reduce_all((images >= 0) & (images <= 1))  # false where there is a NaN
        said = f"{_MARK}expected finite images in [0, 1], received others"
        with tf.control_dependencies([tf.debugging.Assert(fits, [said])]):
            return tf.cast(images, tf.float32)

    @staticmethod
    def _refuse_labels(y: Any) -> None:
        if y is not None:
            raise ValueError("expected no y with a dataset or generator, whose batches are (images, labels)")


class _AdmittedBatches(keras.utils.PyDataset):
    """A dataset whose batches go through the gate."""

    def __init__(self, batches: keras.utils.PyDataset, admit: Callable[[Any], tuple[Any, ...]]):
        super().__init__(
            workers=batches.workers,
            use_multiprocessing=batches.use_multiprocessing,
            max_queue_size=batches.max_queue_size,
        )
        self._batches, self._admit = batches, admit

    @property
    def num_batches(self) -> int | None:
        return self._batches.num_batches

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self._admit(self._batches[index])

    def on_epoch_begin(self) -> None:
        self._batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._batches.on_epoch_end()


def first(dataset: tf.data.Dataset) -> Any:
    """The first element of a dataset.

    Raises:
      ValueError: it is empty.
    """
    found = next(iter(dataset.take(1)), None)
    if found is None:
        raise ValueError(_EMPTY)
    return found


def refuse_weights(where: str, given: dict[str, Any]) -> None:
    """Raises ValueError where weights of samples or classes are given to `fit` or `evaluate`."""
    for name in ("sample_weight", "class_weight"):
        if given.get(name) is not None:
            raise ValueError(f"expected {where}() without {name}: the objective weighs all images alike")


def check_metrics(metrics: Any) -> None:
    """Raises ValueError where a metric of Keras wants one-hot labels or probabilities: these are numbers and logits."""
    for metric in keras.tree.flatten(metrics):
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", None) or type(metric).__name__
        kind = re.sub(r"[^a-z]", "", name.lower())
        wants = next((word for word in _METRICS if word in kind and "sparse" not in kind), "")
        if kind == "sparsecategoricalcrossentropy" and not getattr(metric, "_fn_kwargs", {}).get("from_logits"):
            wants = "probabilities"
        of_keras = isinstance(metric, str) or str(getattr(metric, "__module__", "")).startswith("keras")
        if of_keras and (wants or kind == "ce"):
            raise ValueError(
                f"expected metrics of integer labels and logits, such as 'accuracy', received {name}, which "
                "wants others; take a sparse metric, with from_logits=True where there is one"
            )


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """Raises what the gate refuses inside a dataset as the same ValueError that it raises outside of one."""
    try:
        yield
    except tf.errors.OpError as error:
        said = re.search(f"(?:{_MARK}|ValueError: )(expected .*?received [^\n]*)", str(error))
        said = said or re.search(r"assertion failed: \[(expected [^\]\n]*)", str(error))
        if said is None:
            raise
        raise ValueError(said.group(1).split(" [[", 1)[0].rstrip("]'\" ")) from error


def arrays_of(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of arrays, or of a finite dataset of either kind.

    Raises:
      ValueError: a generator, or a dataset without an end.
    """
    if isinstance(x, tf.data.Dataset):
        endless = int(x.cardinality()) == tf.data.INFINITE_CARDINALITY
    elif isinstance(x, keras.utils.PyDataset):
        endless = x.num_batches is None
    elif isinstance(x, (np.ndarray, tuple)):
        return x[0] if isinstance(x, tuple) else x, y
    else:
        raise ValueError(
            "expected arrays of images and labels, or a finite dataset of them, to learn where chains begin; call "
            "adapt(images, labels) before fit"
        )
    if endless:
        raise ValueError("expected a finite dataset, received an endless one; call adapt(images, labels) before fit")
    batches = x if isinstance(x, tf.data.Dataset) else (x[i] for i in range(x.num_batches))
    parts = [(images[0] if isinstance(images, tuple) else images, labels) for images, labels in batches]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def _of_dict(batch: dict[str, Any], *, labelled: bool) -> tuple[Any, ...]:
    """The images and labels of a batch of names, as `tfds.load` gives them."""
    weights = [key for key in batch if "weight" in str(key)]
    images = [key for key in batch if key in _IMAGES]
    labels = [key for key in batch if key in _LABELS]
    if weights or len(images) != 1 or len(labels) != 1 and labelled:
        raise ValueError(
            'expected batches (images, labels), or dicts with "image" and "label" and no weights, received a dict with '
            f"{', '.join(map(str, batch))}"
        )
    return (batch[images[0]], batch[labels[0]]) if labelled else (batch[images[0]],)


def _is_pair(x: Any) -> bool:
    """Whether x is (images, images for p(x)), each a batch."""
    return isinstance(x, (tuple, list)) and len(x) == 2 and all(len(np.shape(one)) == 4 for one in x)


def _local(value: Any) -> Any:
    """The first replica's part of a distributed value."""
    return value.values[0] if isinstance(value, tf.distribute.DistributedValues) else value
