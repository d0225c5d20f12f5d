"""Nets whose features generative scores are made of, and the names that their scores may bear."""

import hashlib
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import admit_images
from jeat_tf.core.files import whole_file
from jeat_tf.core.logits import check_head, check_itself, check_logits
from jeat_tf.models.files import weights_sha256
from jeat_tf.models.heads import before_last_dense

INCEPTION_URL = "https://storage.googleapis.com/download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz"
_GRAPH = "classify_image_graph_def.pb"
_SIDE = 299
_ACTS = re.compile("File|Save|Restore|PyFunc|Print|Summary|Merge.*Checkpoint|Dataset|Reader|Sql")
_OFFLINE = (
    "without a network use --features=judge.keras, any classifier of the same images (in Python classifier(net)), "
    "whose scores bear other names"
)

Features = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""images float[B, H, W, C] in [0, 1] -> features float32[B, D] and probabilities float32[B, K]."""


class ScoreNames(NamedTuple):
    """Keys in JSON of the three scores: inception score, Frechet distance and kernel distance, or their stand-ins."""

    score: str
    frechet: str
    kernel: str


_NAMES = {
    "inception-2015": ScoreNames("inception_score", "fid", "kid"),
    "keras-inception": ScoreNames(
        "keras_inception_score", "frechet_keras_inception_distance", "kernel_keras_inception_distance"
    ),
    "classifier": ScoreNames("classifier_score", "frechet_classifier_distance", "kernel_classifier_distance"),
}


class FeatureNet(NamedTuple):
    """A net that scores look through.

    Attributes:
      name: which net.
      kind: "inception-2015", "keras-inception" or "classifier"; `score_names` depends on it.
      sha256: digest of the graph file, or of the weights of a Keras net.
      resize: description of what is done to an image before the net.
      apply: the net on one batch.
    """

    name: str
    kind: str
    sha256: str
    resize: str
    apply: Features

    def batches(self, images: np.ndarray, batch_size: int = 64) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features float32[B, D] and probabilities float32[B, K] of one batch after another."""
        for i in range(0, len(images), batch_size):
            yield self.apply(images[i : i + batch_size])

    def of(self, images: np.ndarray, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Features float32[N, D] and probabilities float32[N, K] of all images.

        Raises:
          ValueError: no images, or images that the net does not take.
        """
        if images is None or not len(images):
            raise ValueError("expected at least 1 image, received none")
        features, probabilities = zip(*self.batches(images, batch_size), strict=True)
        return np.concatenate(features), np.concatenate(probabilities)


def score_names(kind: str) -> ScoreNames:
    """What scores on features of this kind are called; IS, FID and KID are those of the Inception net of 2015 alone.

    Raises:
      ValueError: an unknown kind.
    """
    if kind not in _NAMES:
        raise ValueError(f"expected a kind of feature net, one of {', '.join(_NAMES)}, received {kind!r}")
    return _NAMES[kind]


def inception_2015(path: str = "", *, sha256: str = "") -> FeatureNet:
    """The Inception-v3 graph of 2015-12-05, on which published IS, FID and KID are computed.

    Images are rounded to 8 bits, resized as TensorFlow 1 did and scaled by (x - 128) / 128; a grey image is repeated
    over three channels. Features are pool_3, probabilities the softmax of all 1008 logits without their bias, as in
    the code of Salimans et al., 2016, https://github.com/openai/improved-gan, and of Heusel et al., 2017.

    No digest is built in, so a download needs `sha256`. `FeatureNet.sha256` is that of the graph that was read. A graph
    with operations that read or write files, or that call Python, is refused.

    Args:
      path: classify_image_graph_def.pb, or the archive inception-2015-12-05.tgz; "" downloads the archive (about 89 MB)
        once, to the folder jeat_tf of Keras' home.
      sha256: the digest that classify_image_graph_def.pb must have, packed or not; "" accepts any file at `path`.

    Raises:
      ValueError: not such a graph, another digest, or no network. A download that fails or is not accepted leaves
        no file.
      FileNotFoundError: nothing at `path`.
    """
    graph = _read_graph(path, sha256) if path else _download(sha256)
    return FeatureNet(
        name="inception-2015-12-05",
        kind="inception-2015",
        sha256=hashlib.sha256(graph).hexdigest(),
        resize=f"8 bits, bilinear to {_SIDE}x{_SIDE} as TensorFlow 1: corners not aligned, no half pixels",
        apply=_run_graph(graph),
    )


def keras_inception(weights: str | None = "imagenet") -> FeatureNet:
    """keras.applications.InceptionV3: other weights than those of 2015, hence other numbers, and no FID.

    Images are rounded to 8 bits, resized (bilinear, half-pixel centres), scaled to [-1, 1]; features are the 2048
    averages, probabilities the 1000 classes.

    Args:
      weights: "imagenet", which Keras downloads once, or a file of weights with the classes; None is random.

    Raises:
      ValueError: the weights cannot be read or downloaded.
    """
    try:
        net = keras.applications.InceptionV3(weights=weights)
    except Exception as error:
        raise ValueError(f"cannot get the weights {weights!r} of InceptionV3: {error}; {_OFFLINE}") from error
    both = keras.Model(net.inputs[0], [net.get_layer("avg_pool").output, net.outputs[0]])

    def apply(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        resized = tf.image.resize(_eight_bits(images), [_SIDE, _SIDE])
        features, probabilities = both(resized / 127.5 - 1, training=False)
        return features.numpy(), probabilities.numpy()

    return FeatureNet(
        name=f"keras InceptionV3, weights {os.path.basename(weights) if weights else 'random'}",
        kind="keras-inception",
        sha256=weights_sha256(net),
        resize=f"8 bits, bilinear to {_SIDE}x{_SIDE}, half-pixel centres",
        apply=apply,
    )


def classifier(net: keras.Model) -> FeatureNet:
    """Any Keras net of images -> logits that ends in a dense layer: features are what its last dense layer reads.

    Needs no download, and tells images of its own data set apart better than Inception would; its scores are
    comparable with scores of the same weights alone.

    Raises:
      ValueError: no dense layer; and, on use, images of another shape than the net's, or outputs that are no logits.
    """
    check_itself(net)
    if not isinstance(net, keras.Model):
        raise ValueError(f"expected a judge, a Keras net, received {type(net).__name__}")
    if not getattr(net, "inputs", None):
        raise ValueError(
            f"expected a judge whose graph shows its layers, received {net.name}, which is subclassed; make it a "
            "functional or Sequential net"
        )
    body = before_last_dense(net, through=True)
    if body is None:
        raise ValueError(f"expected a judge that ends in a dense layer, received {net.name} without one")
    check_head(net, f"judge ({net.name})")
    both = keras.Model(net.inputs[0], [body.outputs[0], net.outputs[0]])

    def apply(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = admit_images(images)
        if any(size not in (None, given) for size, given in zip(net.input_shape, images.shape, strict=False)):
            raise ValueError(
                f"expected a judge for images of shape {list(images.shape[1:])}, received one for "
                f"{list(net.input_shape[1:])}"
            )
        features, logits = both(images, training=False)
        check_logits(logits, what=f"judge ({net.name})")
        return features.numpy(), tf.nn.softmax(logits).numpy()

    return FeatureNet(net.name, "classifier", weights_sha256(net), "none", apply)


def classifier_features(judge: keras.Model, images: np.ndarray) -> np.ndarray:
    """float64[N, D], what the judge's last dense layer reads: `classifier(judge)` without the probabilities."""
    return classifier(judge).of(images, batch_size=256)[0].astype(np.float64)


def resize_tf1(images: np.ndarray, side: int) -> tf.Tensor:
    """float32[B, side, side, C] by TensorFlow 1's bilinear resize: output pixel i reads input i * H / side.

    Without half pixels it shifts images towards the lower right and does not smooth before it shrinks. Published
    scores contain it.
    """
    return tf.compat.v1.image.resize_bilinear(images, [side, side], align_corners=False, half_pixel_centers=False)


def _eight_bits(images: np.ndarray) -> np.ndarray:
    """float32[B, H, W, 3], whole numbers 0 to 255."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"expected images [B, H, W, 1 or 3], received {list(images.shape)}")
    if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"expected images in [0, 1], received values from {images.min()} to {images.max()}")
    return np.rint(np.broadcast_to(images, (*images.shape[:3], 3)).astype(np.float32) * 255)


def _read_graph(path: str, sha256: str) -> bytes:
    """The graph in a .pb or an archive, serialized, if it has the required digest."""
    try:
        with tarfile.open(path) as archive:
            member = next((m for m in archive if os.path.basename(m.name) == _GRAPH and m.isfile()), None)
            if member is None:
                raise ValueError(f"expected {_GRAPH} in the archive {path}, received one without it")
            graph = archive.extractfile(member).read()  # type: ignore[union-attr]  # a file, by isfile()
    except tarfile.ReadError:
        with open(path, "rb") as f:
            graph = f.read()
    except (EOFError, OSError, tarfile.TarError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"cannot read the archive {path}: {error}; expected it whole") from error
    digest = hashlib.sha256(graph).hexdigest()
    if sha256 and digest != sha256.lower():
        raise ValueError(f"expected {_GRAPH} with SHA-256 {sha256}, received {digest} in {path}")
    _checked_graph(graph, path)
    return graph


def _download(sha256: str) -> bytes:
    """The graph from Keras' home, or from the network and then kept there."""
    if not sha256:
        raise ValueError(
            f"expected --features_sha256, the digest that {_GRAPH} must have: a graph from the network is run only if "
            f"it is known. Give it, or the path of a copy by --features_path, or {_OFFLINE}"
        )
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    path = os.path.join(home, "jeat_tf", os.path.basename(INCEPTION_URL))
    if os.path.exists(path):
        try:
            return _read_graph(path, sha256)
        except ValueError as error:
            raise ValueError(f"{error}; {path} was kept from a download: remove it to fetch it again") from error
    with whole_file(path) as temporary:
        folder, name = os.path.split(temporary)
        try:
            keras.utils.get_file(name, INCEPTION_URL, cache_dir=folder, cache_subdir="", force_download=True)
        except Exception as error:
            raise ValueError(
                f"cannot download {INCEPTION_URL}: {error}; give the path of a copy by --features_path, or {_OFFLINE}"
            ) from error
        return _read_graph(temporary, sha256)


def _checked_graph(serialized: bytes, path: str) -> tf.compat.v1.GraphDef:
    """The graph, if it has what Inception scores need.

    Raises:
      ValueError: not a graph, or one without these tensors.
    """
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(serialized)
    except Exception as error:
        raise ValueError(f"expected a frozen TensorFlow graph in {path}, received another or a damaged file") from error
    acting = sorted({node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def})
    if acting := [op for op in acting if _ACTS.search(op)]:
        raise ValueError(f"expected a graph that computes alone, received {path} with operations {', '.join(acting)}")
    missing = {"Mul", "pool_3", "softmax/logits/MatMul"} - {node.name for node in graph.node}
    if missing:
        raise ValueError(
            f"expected the Inception graph of 2015-12-05 in {path}, received one without {', '.join(sorted(missing))}"
        )
    return graph


def _run_graph(serialized: bytes) -> Features:
    """The net of a graph that `_read_graph` returned."""
    # A session, because the graph has operations that were removed from newer graphs and that a tf.function, which
    # is one, refuses.
    graph = tf.Graph()
    with graph.as_default():
        images = tf.compat.v1.placeholder(tf.float32, [None, _SIDE, _SIDE, 3])
        pool, matmul = tf.graph_util.import_graph_def(
            _checked_graph(serialized, "memory"),
            input_map={"Mul:0": images},
            return_elements=["pool_3:0", "softmax/logits/MatMul"],
            name="",
        )
        # Not the graph's own logits: their reshape is made for one image.
        features = tf.squeeze(pool, [1, 2])
        probabilities = tf.nn.softmax(tf.matmul(features, matmul.inputs[1]))
    if features.shape[1:] != (2048,) or probabilities.shape[1:] != (1008,):
        raise ValueError(
            "expected the Inception graph of 2015-12-05, with 2048 features and 1008 classes, received one with "
            f"{features.shape[-1]} and {probabilities.shape[-1]}"
        )
    session = tf.compat.v1.Session(graph=graph)

    def apply(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        resized = (resize_tf1(_eight_bits(batch), _SIDE).numpy() - 128) / 128
        return tuple(session.run((features, probabilities), {images: resized}))

    return apply
