"""What is wrong with images that one would see at once."""

import numpy as np
import pytest

from jeat_tf.metrics.looks import Looks, looks

LABELS = np.arange(200) % 2
FINE = Looks(0.5, 0.5, 1.0, 2.0, 0.01, 0.01)


def drawn(seed, num=200):
    """Images of two classes, one darker than the other."""
    noise = np.random.default_rng(seed).uniform(-0.2, 0.2, (num, 4, 4, 1))
    return (0.3 + 0.4 * LABELS[:num, None, None, None] + noise).astype(np.float32)


def test_fresh_draws_of_the_same_density_raise_no_warning():
    found = looks(drawn(0), LABELS, drawn(1), LABELS, starts=np.zeros([200, 4, 4, 1]))
    assert found.saturated == found.saturated_of_real == 0
    assert found.copies_of_real < 0.05
    assert found.copies_of_each_other < 0.05
    assert found.distance < found.distance_of_start
    assert found.warnings() == []


def test_saturation_is_counted_and_told_beside_that_of_real_images():
    found = looks(np.round(drawn(0)), LABELS, drawn(1), LABELS)
    assert found.saturated == 1
    assert found.distance_of_start is None
    assert found.warnings()[0].startswith("the chains saturate: 100% of the pixels are at 0 or 1, against 0%")
    # Digits are mostly black: what real images do is no fault.
    assert FINE._replace(saturated=0.74).warnings() == []
    assert len(FINE._replace(saturated=0.76).warnings()) == 1


def test_a_chain_that_leaves_its_start_worse_than_it_was_is_told():
    found = looks(drawn(0) + 0.09, LABELS, drawn(1), LABELS, starts=drawn(0))
    (warning,) = found.warnings()
    assert warning.startswith("the chains leave their start worse than it was")
    assert looks(drawn(0), LABELS, drawn(1), LABELS, starts=drawn(0) + 0.09).warnings() == []


def test_copies_of_one_image_and_of_training_images_are_told_apart():
    real = drawn(1)
    repeated = drawn(0)[[0, 1] * 100] + np.random.default_rng(2).normal(0, 1e-3, (200, 4, 4, 1)).astype(np.float32)
    found = looks(repeated, LABELS, real, LABELS)
    assert found.copies_of_each_other == 1
    assert found.copies_of_real < 0.05
    found = looks(real, LABELS, real, LABELS)
    assert found.copies_of_real == 1
    assert found.copies_of_each_other < 0.05


def test_the_share_of_near_copies_of_real_images_themselves_is_one_percent():
    real = drawn(1)
    assert looks(real[::-1], LABELS[::-1], real, LABELS).copies_of_each_other == pytest.approx(0.01, abs=0.005)


def test_images_that_are_not_finite_are_left_out_and_nothing_is_said_of_too_few():
    images = drawn(0)
    images[:100] = np.nan
    found = looks(images, LABELS, drawn(1), LABELS, starts=drawn(3))
    assert np.isfinite(list(found)).all()
    images[:] = np.inf
    assert looks(images, LABELS, drawn(1), LABELS) is None


def test_exact_copies_count_where_real_images_have_doubles():
    real = drawn(1)
    real[20:40] = real[:20]  # more than 1% of them: the distance that a copy may have is 0
    found = looks(real[:100], LABELS[:100], real, LABELS)
    assert found.copies_of_real == 1
    assert looks(drawn(0), LABELS, real, LABELS).copies_of_real == 0
    one = np.repeat(drawn(0)[:2], 100, axis=0)[np.argsort(np.repeat([0, 1], 100), kind="stable")]
    assert looks(one, np.repeat([0, 1], 100), real, LABELS).copies_of_each_other == 1
