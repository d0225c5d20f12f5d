import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.models.cnn import small_cnn
from jeat_tf.models.layers import ACTIVATIONS, NORMS, ActNorm
from jeat_tf.models.nets import SmallCNN, WideResNet
from jeat_tf.models.parts import split
from jeat_tf.models.pre_act import pre_act_resnet18
from jeat_tf.models.precision import in_bfloat16
from jeat_tf.models.residual import wide_resnet

IMAGES = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)


def tiny(**settings) -> keras.Model:
    return small_cnn((8, 8, 3), 5, widths=(4, 8), **settings)


def tiny_resnet(**settings) -> keras.Model:
    return wide_resnet((8, 8, 3), 5, depth=10, width=1, **settings)


def singular_values(net: keras.Model) -> list[float]:
    """The largest of each kernel as a matrix [-1, out]."""
    kernels = [w.numpy() for w in net.trainable_weights if w.name == "kernel"]
    return [np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2) for kernel in kernels]


@pytest.fixture
def mixed_bfloat16():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("make", [small_cnn, lambda *a, **k: wide_resnet(*a, depth=10, width=1, **k)])
def test_nets_give_finite_float32_logits_and_survive_a_file(make, norm, tmp_path):
    net = make((8, 8, 3), 7, norm=norm)
    x = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    logits = net(x)
    assert logits.shape == (2, 7)
    assert np.isfinite(logits).all()
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    np.testing.assert_array_equal(again(x), logits)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    assert small_cnn((8, 8, 1), 10, activation=activation).count_params() == 97_802


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_logits_are_float32_under_a_mixed_policy(mixed_bfloat16, spectral_norm):
    net = small_cnn((8, 8, 1), 10, spectral_norm=spectral_norm)
    assert net(np.zeros((1, 8, 8, 1), np.float32)).dtype == "float32"
    convolution = net.layers[2].layer if spectral_norm else net.layers[2]
    assert convolution.compute_dtype == "bfloat16"


def test_wide_resnet_28_10_has_the_published_size():
    # 36.5 million weights: table 4 of Zagoruyko & Komodakis, 2016; biases in place of normalisation change 0.03%.
    assert wide_resnet((32, 32, 3), 10).count_params() == pytest.approx(36.5e6, rel=0.005)


def test_a_wide_resnet_without_norm_starts_with_moderate_logits():
    keras.utils.set_random_seed(0)
    logits = wide_resnet((32, 32, 3), 10, depth=28, width=2)(np.random.default_rng(0).random((8, 32, 32, 3)))
    assert np.abs(logits).max() < 5


@pytest.mark.parametrize("depth", [9, 27, 4])
def test_a_depth_that_does_not_exist(depth):
    with pytest.raises(ValueError, match="6 n"):
        wide_resnet((32, 32, 3), 10, depth=depth)


@pytest.mark.parametrize("setting", [{"norm": "group"}, {"activation": "sine"}, {"head": "max"}])
def test_unknown_choices(setting):
    with pytest.raises(ValueError, match="expected"):
        small_cnn((8, 8, 1), 10, **setting)


def test_pre_act_resnet18_has_the_published_size():
    net = pre_act_resnet18((32, 32, 3), 10)
    channels = [64, 128, 256, 512]
    kernels = 9 * 3 * 64 + 512 * 10  # the stem and the logits
    kernels += sum(4 * 9 * c * c for c in channels)  # four 3x3 convolutions in each group,
    kernels -= sum(9 * c * (c - b) for b, c in itertools.pairwise(channels))  # the first of which has fewer inputs,
    kernels += sum(b * c for b, c in itertools.pairwise(channels))  # beside a 1x1 convolution
    normalized = sum(4 * c for c in channels) - sum(c - b for b, c in itertools.pairwise(channels)) + 512
    # PyTorch's count for the nets of Fast adversarial training and AWP.
    assert kernels + 2 * normalized + 10 == 11_172_170
    assert sum(w.numpy().size for w in net.trainable_weights) == 11_172_170
    assert net.layers[-2].input.shape == (None, 4, 4, 512)


def test_a_pre_act_resnet18_without_norm_starts_with_moderate_logits():
    keras.utils.set_random_seed(0)
    assert np.abs(pre_act_resnet18((8, 8, 3), 5, width=4, norm="none")(IMAGES)).max() < 5


@pytest.mark.parametrize(("make", "count"), [(tiny, 1), (tiny_resnet, 3)])
def test_dropout_before_the_logits_or_inside_each_block(make, count):
    net = make(dropout=0.5)
    assert [layer.rate for layer in net.layers if isinstance(layer, keras.layers.Dropout)] == [0.5] * count


class TestActNorm:
    def test_the_first_training_batch_is_standardized_and_no_other(self):
        layer = ActNorm()
        x = np.random.default_rng(0).normal([3.0, -1.0], [0.2, 5.0], (4, 8, 8, 2)).astype(np.float32)
        np.testing.assert_array_equal(layer(x), x)
        first = layer(x, training=True).numpy()
        np.testing.assert_allclose(first.mean((0, 1, 2)), 0.0, atol=1e-5)
        np.testing.assert_allclose(first.std((0, 1, 2)), 1.0, rtol=1e-4)
        np.testing.assert_allclose(layer(x + 1.0, training=True) - first, layer(x + 1.0) - layer(x), atol=1e-5)
        np.testing.assert_array_equal(layer(x), first)

    def test_a_constant_channel_stays_finite(self):
        np.testing.assert_allclose(ActNorm()(np.full((2, 4, 4, 1), 0.5, np.float32), training=True), 0.0, atol=1e-3)

    def test_images_do_not_couple(self):
        net = tiny(norm="act")
        net(IMAGES, training=True)
        np.testing.assert_allclose(net(IMAGES[:1], training=True), net(IMAGES, training=True)[:1], atol=1e-5)

    def test_a_saved_net_is_not_initialized_again(self, tmp_path):
        net = tiny(norm="act")
        net(IMAGES, training=True)
        net.save(tmp_path / "net.keras")
        again = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
        again(3 * IMAGES, training=True)
        np.testing.assert_array_equal(again(IMAGES), net(IMAGES))

    def test_weights_keep_their_precision_under_a_mixed_policy(self, mixed_bfloat16):
        layer = ActNorm()
        assert layer(IMAGES, training=True).dtype == "bfloat16"
        scale = layer.scale.numpy()
        assert np.any(scale != tf.cast(tf.cast(scale, tf.bfloat16), tf.float32))
        layer(IMAGES, training=True)
        np.testing.assert_array_equal(layer.scale, scale)


class TestSpectralNorm:
    def test_training_passes_bring_every_kernel_to_one(self):
        keras.utils.set_random_seed(0)
        net = tiny(spectral_norm=True)
        assert max(singular_values(net)[:-1]) > 1.1
        for _ in range(30):
            net(IMAGES, training=True)
        np.testing.assert_allclose(singular_values(net)[:-1], 1.0, rtol=0.05)  # the logits' is free

    @pytest.mark.parametrize(("make", "count"), [(tiny, 2), (tiny_resnet, 9)])
    def test_every_kernel_is_wrapped_under_its_own_name(self, make, count):
        net = make(spectral_norm=True)
        wrapped = [layer for layer in net.layers if hasattr(layer, "kernel") and layer.name != "logits"]
        assert len(wrapped) == count
        for layer in wrapped:
            assert isinstance(layer, keras.layers.SpectralNormalization)
            assert layer.name == layer.layer.name

    def test_inference_leaves_the_kernels(self):
        net = tiny(spectral_norm=True)
        before = net.get_weights()
        net(IMAGES)
        for old, new in zip(before, net.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    def test_kernels_keep_their_precision_under_a_mixed_policy(self, mixed_bfloat16):
        net = tiny(spectral_norm=True)
        net(IMAGES, training=True)
        kernel = net.trainable_weights[0].numpy()
        assert np.any(kernel != tf.cast(tf.cast(kernel, tf.bfloat16), tf.float32))

    def test_a_copy_in_bfloat16_computes_in_bfloat16(self):
        net = tiny(spectral_norm=True, norm="act")
        net(IMAGES, training=True)
        copy = in_bfloat16(net)
        assert copy.layers[2].layer.compute_dtype == "bfloat16"
        np.testing.assert_allclose(copy(IMAGES), net(IMAGES), atol=0.05)
        assert np.any(tf.cast(copy(IMAGES), tf.float32) != net(IMAGES))

    def test_a_saved_net_is_the_same(self, tmp_path):
        net = tiny(spectral_norm=True)
        net(IMAGES, training=True)
        net.save(tmp_path / "net.keras")
        again = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
        np.testing.assert_array_equal(again(IMAGES, training=True), net(IMAGES, training=True))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_act_norm_and_spectral_norm_train_in_a_graph(jit_compile):
    keras.utils.set_random_seed(0)
    net = small_cnn((8, 8, 3), 5, widths=(4,), norm="act", spectral_norm=True)
    variables = net.trainable_variables

    @tf.function(autograph=False, jit_compile=jit_compile)
    def step(x):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(tf.nn.log_softmax(net(x, training=True))[:, 0])
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(0.01 * gradient)
        return loss

    losses = [step(tf.constant(IMAGES)).numpy() for _ in range(15)]
    assert losses[-1] < losses[0]
    assert next(w for w in net.weights if w.name == "initialized").numpy() == 1.0
    np.testing.assert_allclose(singular_values(net)[:-1], 1.0, rtol=0.1)


class TestSplit:
    @pytest.mark.parametrize(
        "make",
        [tiny, functools.partial(tiny_resnet, norm="batch"), functools.partial(tiny, spectral_norm=True, norm="act")],
    )
    def test_the_parts_make_the_net_and_its_gradient(self, make):
        net, x = make(), tf.constant(IMAGES)
        stem, head = split(net)
        np.testing.assert_array_equal(head(stem(x)), net(x))
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            hidden = stem(x)
            parts, whole = head(hidden), net(x)
        through_head = tape.gradient(parts, hidden)
        np.testing.assert_allclose(
            tape.gradient(hidden, x, output_gradients=through_head), tape.gradient(whole, x), rtol=1e-4, atol=1e-6
        )
        assert all(g is not None for g in tape.gradient(parts, net.trainable_variables))

    def test_the_stem_ends_with_the_first_convolution_and_shares_its_weights(self):
        net = tiny()
        stem, head = split(net)
        assert [layer.name for layer in stem.layers] == [layer.name for layer in net.layers[:3]]
        assert stem.weights + head.weights == net.weights
        assert stem.weights[0] is net.weights[0]

    def test_a_named_layer_and_a_net_that_was_split_before(self):
        net = tiny_resnet()
        split(net)
        stem, head = split(net, next(layer.name for layer in net.layers if isinstance(layer, keras.layers.Add)))
        np.testing.assert_array_equal(head(stem(IMAGES)), net(IMAGES))

    def test_the_net_can_be_saved_afterwards(self, tmp_path):
        net = tiny()
        split(net)
        net.save(tmp_path / "net.keras")
        np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "net.keras")(IMAGES), net(IMAGES))

    def test_a_sequential_net(self):
        net = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(5, name="logits")])
        stem, head = split(net, net.layers[0].name)
        np.testing.assert_array_equal(head(stem(IMAGES)), net(IMAGES))

    def test_a_layer_that_others_go_around_is_named_with_them(self):
        net = tiny_resnet()
        add = next(layer for layer in net.layers if isinstance(layer, keras.layers.Add))
        beside, inside = (tensor._keras_history.operation.name for tensor in add.input)
        with pytest.raises(ValueError, match=f'"{inside}": "{add.name}" after it uses the output of "{beside}"'):
            split(net, inside)

    def test_a_layer_that_cannot_be_cut_after(self):
        net = tiny()
        with pytest.raises(ValueError, match="No such layer: conv"):
            split(net, "conv")
        with pytest.raises(ValueError, match='"logits", the last'):
            split(net, "logits")
        inputs = keras.Input((3,), name="images")
        shared = keras.layers.Dense(3, name="shared")
        with pytest.raises(ValueError, match='"shared" with 2 outputs'):
            split(keras.Model(inputs, shared(shared(inputs))))
        with pytest.raises(ValueError, match="kernels"):
            split(keras.Model(inputs, keras.layers.ReLU()(inputs)))


def test_the_block_of_jems_code_has_the_raw_shortcut_and_the_stride_in_its_second_convolution():
    net = wide_resnet((8, 8, 3), 5, depth=10, width=2, shortcut="raw")
    convolutions = [layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]
    stem, *blocks = convolutions
    shortcuts = [layer for layer in blocks if layer.kernel_size == (1, 1)]
    assert shortcuts[0].input is stem.output
    assert [layer.strides[0] for layer in shortcuts] == [1, 2, 2]
    added = [layer for layer in net.layers if isinstance(layer, keras.layers.Add)]
    second = [layer.input[1]._keras_history.operation for layer in added]
    assert [layer.strides[0] for layer in second] == [1, 2, 2]
    activated = wide_resnet((8, 8, 3), 5, depth=10, width=2)
    assert activated.count_params() == net.count_params()
    with pytest.raises(ValueError, match="shortcut"):
        WideResNet(shortcut="none")


def test_a_momentum_of_batch_statistics_without_them_is_refused():
    assert SmallCNN(norm="batch", norm_momentum=0.1).norm_momentum == 0.1
    with pytest.raises(ValueError, match=r"norm_momentum=0.1 has no effect with norm=none; only batch"):
        SmallCNN(norm_momentum=0.1)
