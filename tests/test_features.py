import hashlib
import io
import pathlib
import tarfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.metrics import features
from jeat_tf.metrics.features import classifier, inception_2015, keras_inception, resize_tf1, score_names
from jeat_tf.models.files import weights_sha256
from tests.conftest import tiny_cnn

GRAPH = "classify_image_graph_def.pb"
IMAGES = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)


def inception_graph(width: int = 2048, drop: str = "") -> tf.compat.v1.GraphDef:
    """A graph with the names of Inception: channel means, a matrix to `width` features, a layer to 1008 logits.

    Like the original it takes one image at a time, has a bias and a reshape for one image behind its features, and
    uses an operation that newer graphs no longer have.
    """
    rng = np.random.default_rng(1)
    graph = tf.Graph()
    with graph.as_default():
        image = tf.compat.v1.placeholder(tf.float32, [1, 299, 299, 3], name="ExpandDims")
        scaled = tf.multiply(image - 128.0, 1 / 128, name="Mul")
        mean = tf.nn.avg_pool2d(scaled, 299, 1, "VALID")
        kernel = tf.constant(rng.normal(size=(1, 1, 3, width)), tf.float32, name="kernel")
        tf.nn.conv2d(mean, kernel, 1, "VALID", name="before")
        tf.constant(1.0, shape=[width], name="one")
        tf.constant(0.0, shape=[width], name="zero")
        pool = tf.identity(graph.get_tensor_by_name("before:0"), name="pool_3")
        weights = tf.constant(rng.normal(size=(width, 1008)) / 100, tf.float32, name="softmax/weights")
        logits = tf.matmul(tf.reshape(pool, [1, width]), weights, name="softmax/logits/MatMul")
        tf.nn.softmax(logits + 3 * tf.range(1008.0), name="softmax")
    definition = graph.as_graph_def()
    for node in definition.node:
        if node.name == "pool_3":
            node.op = "BatchNormWithGlobalNormalization"
            node.input[:] = ["before", "zero", "one", "zero", "one"]
            node.attr["variance_epsilon"].f = 0.0
            node.attr["scale_after_normalization"].b = False
    if drop:
        kept = [node for node in definition.node if node.name != drop]
        del definition.node[:]
        definition.node.extend(kept)
    definition.versions.producer = 8
    return definition


@pytest.fixture(scope="module")
def graph() -> bytes:
    return inception_graph().SerializeToString()


@pytest.fixture
def graph_file(graph: bytes, tmp_path: pathlib.Path) -> str:
    (tmp_path / GRAPH).write_bytes(graph)
    return str(tmp_path / GRAPH)


def archive(graph: bytes, path: pathlib.Path) -> str:
    with tarfile.open(path, "w:gz", compresslevel=1) as f:
        member = tarfile.TarInfo(f"./{GRAPH}")
        member.size = len(graph)
        f.addfile(member, io.BytesIO(graph))
    return str(path)


class TestInception2015:
    def test_features_and_probabilities_are_those_of_the_graph(self, graph, graph_file):
        net = inception_2015(graph_file)
        values, probabilities = net.of(IMAGES, batch_size=2)
        nodes = tf.compat.v1.GraphDef.FromString(graph).node
        constants = {node.name: tf.make_ndarray(node.attr["value"].tensor) for node in nodes if node.op == "Const"}
        pixels = np.rint(IMAGES * 255)
        means = (np.mean(resize_tf1(pixels, 299), axis=(1, 2)) - 128) / 128
        expected = means @ constants["kernel"][0, 0]
        np.testing.assert_allclose(values, expected, atol=1e-4)
        # All 1008 logits, and not their bias: what published inception scores are made of.
        np.testing.assert_allclose(probabilities, tf.nn.softmax(expected @ constants["softmax/weights"]), atol=1e-6)
        assert probabilities.shape == (3, 1008)

    def test_its_digest_is_that_of_the_graph_packed_or_not(self, graph, graph_file, tmp_path):
        packed = archive(graph, tmp_path / "inception.tgz")
        digest = hashlib.sha256(graph).hexdigest()
        assert inception_2015(graph_file).sha256 == digest
        assert inception_2015(packed, sha256=digest.upper()).sha256 == digest
        with pytest.raises(ValueError, match=f"received {digest}"):
            inception_2015(packed, sha256="0" * 64)

    def test_a_grey_image_is_three_equal_channels(self, graph_file):
        net = inception_2015(graph_file)
        grey = IMAGES[..., :1]
        np.testing.assert_array_equal(net.apply(grey)[0], net.apply(np.repeat(grey, 3, axis=-1))[0])

    @pytest.mark.parametrize(
        ("images", "message"),
        [
            (IMAGES[..., :2], "1 or 3"),
            (IMAGES[0], "1 or 3"),
            (IMAGES * 255, r"in \[0, 1\]"),
            (IMAGES * np.nan, r"in \[0, 1\]"),
            (IMAGES[:0], "at least 1 image"),
        ],
    )
    def test_refuses_what_is_no_image(self, images, message, graph_file):
        with pytest.raises(ValueError, match=message):
            inception_2015(graph_file).of(images)

    def test_refuses_another_graph(self, graph, tmp_path):
        def write(content: bytes) -> str:
            (tmp_path / GRAPH).write_bytes(content)
            return str(tmp_path / GRAPH)

        with pytest.raises(ValueError, match="damaged"):
            inception_2015(write(graph[: len(graph) // 2]))
        with pytest.raises(ValueError, match="without pool_3"):
            inception_2015(write(inception_graph(drop="pool_3").SerializeToString()))
        with pytest.raises(ValueError, match="2048 features"):
            inception_2015(write(inception_graph(width=64).SerializeToString()))
        with pytest.raises(FileNotFoundError):
            inception_2015(str(tmp_path / "nothing.pb"))

    def test_refuses_a_broken_archive(self, graph, tmp_path):
        path = pathlib.Path(archive(graph, tmp_path / "inception.tgz"))
        path.write_bytes(path.read_bytes()[:-50_000])
        with pytest.raises(ValueError, match="damaged|whole"):
            inception_2015(str(path))
        with tarfile.open(path, "w:gz"):
            pass
        with pytest.raises(ValueError, match="without it"):
            inception_2015(str(path))


class TestDownload:
    @pytest.fixture
    def home(self, monkeypatch, tmp_path):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
        return tmp_path / "home" / "jeat_tf"

    def serve(self, monkeypatch, path):
        monkeypatch.setattr(features, "INCEPTION_URL", f"file://{path}")

    def test_happens_once(self, graph, home, monkeypatch, tmp_path):
        source = pathlib.Path(archive(graph, tmp_path / "inception-2015-12-05.tgz"))
        self.serve(monkeypatch, source)
        digest = hashlib.sha256(graph).hexdigest()
        first = inception_2015(sha256=digest)
        source.unlink()
        assert inception_2015(sha256=digest).sha256 == first.sha256 == digest
        assert [path.name for path in home.iterdir()] == ["inception-2015-12-05.tgz"]

    def test_without_a_network_names_what_works(self, home, monkeypatch, tmp_path):
        self.serve(monkeypatch, tmp_path / "nothing.tgz")
        with pytest.raises(ValueError, match=r"without a network use --features=judge.keras"):
            inception_2015(sha256="0" * 64)
        assert not list(home.iterdir())

    def test_without_a_digest_nothing_is_fetched(self, graph, home, monkeypatch, tmp_path):
        self.serve(monkeypatch, archive(graph, tmp_path / "inception-2015-12-05.tgz"))
        with pytest.raises(ValueError, match="expected --features_sha256"):
            inception_2015()
        assert not home.exists()

    @pytest.mark.parametrize("settings", [{"sha256": "1" * 64}, {"sha256": "0" * 64}], ids=["broken", "another digest"])
    def test_names_the_file_kept_that_it_refuses(self, settings, graph, home, monkeypatch, tmp_path):
        self.serve(monkeypatch, tmp_path / "inception-2015-12-05.tgz")
        home.mkdir(parents=True)
        kept = pathlib.Path(archive(graph, home / "inception-2015-12-05.tgz"))
        if settings["sha256"] != "0" * 64:
            kept.write_bytes(kept.read_bytes()[:-50_000])
        with pytest.raises(ValueError, match=f"{kept} was kept from a download: remove it"):
            inception_2015(**settings)

    @pytest.mark.parametrize("settings", [{"sha256": "1" * 64}, {"sha256": "0" * 64}], ids=["broken", "another digest"])
    def test_keeps_nothing_that_it_refuses(self, settings, graph, home, monkeypatch, tmp_path):
        source = pathlib.Path(archive(graph, tmp_path / "inception-2015-12-05.tgz"))
        if settings["sha256"] != "0" * 64:
            source.write_bytes(source.read_bytes()[:-50_000])
        self.serve(monkeypatch, source)
        with pytest.raises(ValueError, match="damaged|whole|expected .* with SHA-256"):
            inception_2015(**settings)
        assert not list(home.iterdir())


class TestResize:
    def test_against_a_hand_computation(self):
        # Output pixel i reads input 2 i / 4, between neighbours by weight; the last one has no right neighbour.
        image = np.array([[0.0, 100.0], [40.0, 60.0]])[None, :, :, None]
        rows = [[0, 50, 100, 100], [20, 50, 80, 80], [40, 50, 60, 60], [40, 50, 60, 60]]
        np.testing.assert_array_equal(resize_tf1(image, 4)[0, :, :, 0], rows)

    def test_shrinks_without_smoothing(self):
        image = np.arange(16.0).reshape(1, 4, 4, 1)
        np.testing.assert_array_equal(resize_tf1(image, 2)[0, :, :, 0], [[0, 2], [8, 10]])


class TestClassifier:
    def test_features_are_what_the_last_dense_layer_reads(self):
        net = tiny_cnn()
        values, probabilities = classifier(net).of(IMAGES[..., :1], batch_size=2)
        logits = values @ net.layers[-1].kernel.numpy() + net.layers[-1].bias.numpy()
        np.testing.assert_allclose(probabilities, tf.nn.softmax(logits), atol=1e-6)
        assert classifier(net).sha256 == weights_sha256(net)

    def test_refuses_images_of_another_shape(self):
        net = classifier(tiny_cnn())
        for images in (IMAGES, IMAGES[:, :4, :, :1], IMAGES[0]):
            with pytest.raises(ValueError, match="images of shape"):
                net.of(images)

    def test_refuses_probabilities_and_what_is_not_finite(self):
        net = tiny_cnn()
        judge = keras.Model(net.inputs, keras.layers.Softmax()(net.outputs[0]), name="sure")
        with pytest.raises(ValueError, match=r"judge \(sure\) that gives logits, received one that ends in softmax"):
            classifier(judge).of(IMAGES[..., :1])
        net.layers[-1].bias.assign(np.full(10, np.nan))
        with pytest.raises(ValueError, match="finite logits"):
            classifier(net).of(IMAGES[..., :1])

    def test_needs_a_dense_layer(self):
        inputs = keras.Input((8, 8, 1))
        net = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(10, 3)(inputs)))
        with pytest.raises(ValueError, match="dense layer"):
            classifier(net)


def test_only_inception_of_2015_gives_scores_their_published_names():
    assert score_names("inception-2015") == ("inception_score", "fid", "kid")
    others = [*score_names("keras-inception"), *score_names("classifier")]
    assert len(set(others)) == 6
    assert not {"inception_score", "fid", "kid"} & set(others)
    with pytest.raises(ValueError, match="inception-v4"):
        score_names("inception-v4")


def test_keras_inception_without_its_weights_says_why(tmp_path):
    with pytest.raises(ValueError, match=r"without a network use --features=judge.keras"):
        keras_inception(str(tmp_path / "nothing.weights.h5"))


@pytest.mark.slow
def test_keras_inception_has_2048_features_and_1000_classes():
    net = keras_inception(weights=None)
    values, probabilities = net.of(IMAGES[:2, ..., :1])
    assert values.shape == (2, 2048)
    np.testing.assert_allclose(probabilities.sum(axis=1), np.ones(2), atol=1e-5)
    assert (net.kind, "random" in net.name) == ("keras-inception", True)
