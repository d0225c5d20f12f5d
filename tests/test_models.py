import keras
import numpy as np
import pytest

from jeat_tf.models import NORMS, small_cnn, wide_resnet
from jeat_tf.models.layers import ACTIVATIONS


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


def test_logits_are_float32_under_a_mixed_policy():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        net = small_cnn((8, 8, 1), 10)
    finally:
        keras.config.set_dtype_policy(policy)
    assert net(np.zeros((1, 8, 8, 1), np.float32)).dtype == "float32"
    assert net.layers[2].compute_dtype == "bfloat16"


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


@pytest.mark.parametrize("setting", [{"norm": "group"}, {"activation": "tanh"}, {"head": "max"}])
def test_unknown_choices(setting):
    with pytest.raises(ValueError, match="expected"):
        small_cnn((8, 8, 1), 10, **setting)
