"""Methods do what the code of their papers does, where a reading of the paper alone would go wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.attacks.named import named
from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.energy import energy
from jeat_tf.core.flat import replace
from jeat_tf.data.stream import training_stream
from jeat_tf.methods.inner import Curriculum
from jeat_tf.methods.steps import descend, sam
from jeat_tf.report.published import known_as
from jeat_tf.samplers.class_statistics import class_components
from jeat_tf.train.images import stream, training_images
from tests.conftest import seed

SHAPE = (8, 8, 1)
PRESETS = ("cifar10/jem_pp", "cifar10/sada_jem", "cifar10/robust_jem")


def averaging_net(momentum):
    """A net whose moving mean is the mean of the images that it saw in training mode."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    x = keras.layers.BatchNormalization(momentum=momentum, name="statistics")(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


@pytest.mark.parametrize("preset", PRESETS)
def test_batch_statistics_are_those_of_clean_images(preset):
    """Clean images are white, adversarial ones and negatives darker: the moving mean is the share of clean images."""
    config = parsed(TrainConfig, f"--preset={preset}")
    assert config.net.norm == "batch"
    method = replace(config.method, buffer_size=64, chain_steps=2, chain_start="uniform")
    net = averaging_net(config.net.norm_momentum)
    model = jt.EnergyClassifier(net, method, config.update)
    model.compile(keras.optimizers.SGD(0.0))
    images, labels = np.ones((16, *SHAPE), np.float32), np.arange(16) % 10
    model.replay_buffer.images.assign(np.zeros((64, *SHAPE), np.float32))
    data = tf.data.Dataset.from_tensors((images, labels)).repeat(20)
    if config.stream.separate_marginal:
        data = data.map(lambda x, y: ((x, x), y))
    model.fit(data, verbose=0)
    assert float(net.get_layer("statistics").moving_mean[0]) > 0.8


def test_sharpness_aware_steps_leave_the_statistics_of_the_weights_that_stay():
    def moving_means(update):
        keras.utils.set_random_seed(0)
        net = jt.models.small_cnn(SHAPE, 10, widths=(4,), norm="batch", norm_momentum=0.1)
        optimizer = keras.optimizers.SGD(0.0)
        optimizer.build(net.trainable_variables)
        objective = jt.methods.Standard().objective(SHAPE, 10, 0)
        x = tf.random.stateless_uniform([8, *SHAPE], seed())
        update(net, objective, optimizer, x, tf.range(8), seed())
        return [layer.moving_mean for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]

    for plain, aware in zip(moving_means(descend), moving_means(sam(2.0, adaptive=True)), strict=True):
        np.testing.assert_array_equal(plain, aware)


def test_normalisation_has_the_epsilon_of_pytorch():
    net = jt.models.wide_resnet(SHAPE, 10, depth=10, width=1, norm="batch", norm_momentum=0.1)
    layers = [layer for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert layers
    assert {(layer.epsilon, layer.momentum) for layer in layers} == {(1e-5, 0.1)}


def test_the_curriculum_forgets_steps_before_the_last_eight():
    curriculum = Curriculum(40)
    for _ in range(60):
        curriculum.update(tf.constant(0.3))
    assert int(curriculum.steps) == 0
    for _ in range(7):
        curriculum.update(tf.constant(0.95))
    assert int(curriculum.steps) == 1


def test_weat_starts_at_shrunken_components_without_noise():
    rng = np.random.default_rng(0)
    images = np.clip(0.5 + 0.1 * rng.normal(size=(200, *SHAPE)), 0, 1).astype(np.float32)
    labels = np.arange(200) % 2
    full = class_components(images, labels, 2)
    weat = jt.samplers.ClassComponents().statistics(images, labels, 2)
    np.testing.assert_allclose(weat.factors, 0.005 * np.sqrt(99) * full.factors, rtol=1e-5)
    assert not weat.stds.any()


def test_continued_chains_of_igebm_take_new_classes():
    objective = jt.methods.IGEBM(buffer_size=64).objective(SHAPE, 10, 0)
    net = jt.models.small_cnn(SHAPE, 10, widths=(4,))
    proposals = [objective.negatives.propose(net, 32, seed(i)) for i in range(2)]
    for proposal in proposals:
        assert (proposal.labels.numpy() != (proposal.slots % 10).numpy()).mean() > 0.5
    conditional = jt.methods.JEM(buffer_size=64, class_conditional=True).objective(SHAPE, 10, 0)
    proposal = conditional.negatives.propose(net, 32, seed(0))
    np.testing.assert_array_equal(proposal.labels, proposal.slots % 10)


def test_logits_have_no_spectral_norm():
    net = jt.models.small_cnn(SHAPE, 10, spectral_norm=True)
    wrapped = [layer.name for layer in net.layers if isinstance(layer, keras.layers.SpectralNormalization)]
    assert len(wrapped) == 3
    assert "logits" not in wrapped


@pytest.mark.parametrize("preset", ["digits/jem_semi", "cifar10/jem_semi"])
def test_semi_supervised_presets_serve_a_stream_of_all_images_for_the_density(preset):
    config = parsed(TrainConfig, f"--preset={preset}")
    assert config.stream.separate_marginal
    assert config.stream.augment_marginal == (config.stream.augment != "usual" and "cifar10" in preset)


def test_unlabelled_images_are_in_the_stream_of_the_density_alone(digits):
    config = replace(
        TrainConfig(), method="jem", labelled_percent=10, separate_marginal=True, batch_size=32, validation_percent=0
    )
    images = training_images(config, digits)
    batches = list(stream(config, digits, images, first_step=0).take(12))
    assert all((labels.numpy() >= 0).all() for _, labels in batches)
    labelled = {image.tobytes() for image in images.labelled[0]}
    marginal = np.concatenate([(255 * x[1].numpy()).round().astype(np.uint8) for x, _ in batches])
    share = np.mean([image.tobytes() in labelled for image in marginal])
    assert share == pytest.approx(0.1, abs=0.06)


def test_the_stream_of_the_density_can_be_augmented():
    images, labels = np.zeros((8, *SHAPE), np.uint8), np.zeros(8, np.int64)
    for augmented in (False, True):
        batch, _ = next(
            iter(
                training_stream(
                    images,
                    labels,
                    batch_size=8,
                    seed=0,
                    augment=lambda image, seed: image + 1.0,
                    separate_marginal=True,
                    augment_marginal=augmented,
                )
            )
        )
        assert batch[0].numpy().min() == 1.0
        assert batch[1].numpy().min() == float(augmented)


@pytest.mark.parametrize("view", ["inference", "training"])
def test_attacks_call_the_net_as_their_authors_do(view):
    net = averaging_net(0.5)
    objective = jt.methods.PGDAT(epsilon=0.1, attack_view=view).objective(SHAPE, 10, 0)
    images = tf.ones((8, *SHAPE))
    objective.prepare(net, images, tf.range(8), seed())
    assert (float(net.get_layer("statistics").moving_mean[0]) > 0) == (view == "training")


def test_presets_of_fast_and_awp_attack_in_training_mode():
    for preset, view in (
        ("fast", "training"),
        ("fgsm", "training"),
        ("pgd_at_awp", "training"),
        ("trades", "inference"),
    ):
        assert parsed(TrainConfig, f"--preset=cifar10/{preset}").method.attack_view == view


def test_the_step_of_an_evaluation_attack_can_be_named():
    attack = named("pgd50@2/255", jt.Linf(8 / 255))
    assert attack.name == "pgd50@2/255"
    assert attack.protocol.startswith("50 steps of 0.0078431 up")
    with pytest.raises(ValueError, match="unknown attack"):
        named("pgd50@", jt.Linf(8 / 255))


def test_literal_settings_are_the_algorithms_of_the_paper():
    jeat = jt.methods.JEAT.literal(jt.Linf(0.1))
    assert jeat.chain == jt.samplers.SGLD(20, clip_pixels=False, alpha=0.01)
    assert jeat.input_noise_std == 0
    x = tf.random.stateless_uniform([4, *SHAPE], seed(), 0.4, 0.6)
    labels = tf.range(4)
    net = jt.models.small_cnn(SHAPE, 10, widths=(4,))
    objective = jt.methods.PreJEAT.literal(jt.Linf(0.1)).objective(SHAPE, 10, 0)
    found = objective.prepare(net, x, labels, seed()).x_adv
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = energy(net(x), labels)
    sign = np.sign(tape.gradient(loss, x))
    # Within the ball, and beyond the image on the side of the gradient at the image itself.
    assert np.abs(found - x).max() <= 0.1 + 1e-6
    assert ((found - x).numpy() * sign >= -1e-6).all()


def test_noise_presets_of_digits_are_scaled_as_epsilon_is():
    for name, grey in (("noise_8", 8), ("noise_16", 16), ("noise", 24)):
        ours = parsed(TrainConfig, f"--preset=digits/{name}")
        paper = parsed(TrainConfig, f"--preset=cifar10/{name}")
        assert paper.method.std == pytest.approx(grey / 255)
        assert ours.method.std / ours.ball.epsilon == pytest.approx(paper.method.std / paper.ball.epsilon)


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("fast", "fast"),
        ("fgsm", "fgsm"),
        ("free", "free"),
        ("pgd_at", "pgd_at"),
        ("pgd_at_awp", "pgd_at+awp"),
        ("jem", "jem"),
        ("jem_pp", "jem_pp"),
        ("sada_jem", "sada_jem"),
        ("robust_jem", "robust_jem"),
    ],
)
def test_a_run_stands_beside_the_row_of_its_own_method(preset, name):
    assert known_as(parsed(TrainConfig, f"--preset=cifar10/{preset}")) == name


def test_presets_by_the_authors_code_train_on_all_images_padded_by_zeros():
    for name in ("trades", "trades_awp", "fast", "free", "pgd_at_awp", "weat"):
        stream_of = parsed(TrainConfig, f"--preset=cifar10/{name}").stream
        assert (stream_of.validation_percent, stream_of.augment) == (0, "zero_crop_flip"), name
    for name in ("jem", "jem_pp", "sada_jem"):
        config = parsed(TrainConfig, f"--preset=cifar10/{name}")
        assert config.stream.separate_marginal
        assert config.stream.augment_marginal == (name != "sada_jem")
        assert config.net.shortcut == "raw"
    free = parsed(TrainConfig, "--preset=cifar10/free")
    assert free.optimizer.decay_kernels
    replays = 8 * (50_000 // 128)
    drops = [round(float(epoch) * replays) for epoch in free.optimizer.decay_epochs.split(",")]
    assert drops == [40_000, 60_000]
    assert free.run.max_steps == 80_000


def test_the_gap_of_igebm_is_that_of_the_energy_it_trains():
    objective = jt.methods.IGEBM(buffer_size=8).objective(SHAPE, 10, 0)
    net = jt.models.small_cnn(SHAPE, 10, widths=(4,))
    x, labels = tf.random.stateless_uniform([8, *SHAPE], seed()), tf.range(8)
    batch = objective.prepare(net, x, labels, seed())
    out = objective.loss(net, batch)
    each = energy(net(batch.x), batch.labels), energy(net(batch.x_neg), batch.labels_neg)
    np.testing.assert_allclose(out.terms["gap"], tf.reduce_mean(each[0]) - tf.reduce_mean(each[1]), rtol=1e-5)
    np.testing.assert_allclose(out.loss, out.terms["gap"], rtol=1e-5)
