import json

import numpy as np
import pytest

from jeat_tf.core.records import plain, typed
from jeat_tf.metrics.chain_diagnostics import (
    ChainDiagnosis,
    autocorrelation,
    collapse,
    diagnose,
    drift_to_noise,
    effective_sample_size,
    saturation,
)
from jeat_tf.samplers.values import SGLD, Steps


def white(length, chains):
    return np.random.default_rng(0).normal(size=(length, chains))


def ar1(phi, length=4000, chains=20):
    """x_t = phi x_(t-1) + noise, from its stationary distribution of variance 1."""
    x = white(length, chains)
    for t in range(1, length):
        x[t] = phi * x[t - 1] + np.sqrt(1 - phi**2) * x[t]
    return x


def of_classes(per_class=20, seed=0):
    """Three classes about different grey levels."""
    labels = np.arange(3 * per_class) % 3
    noise = 0.1 * np.random.default_rng(seed).normal(size=(len(labels), 4, 4, 1))
    return 0.25 + 0.25 * labels[:, None, None, None] + noise, labels


class TestEffectiveSampleSize:
    def test_of_white_noise_is_its_length(self):
        assert np.mean(effective_sample_size(white(4000, 20))) == pytest.approx(4000, rel=0.05)

    def test_of_an_autoregression_is_its_closed_form(self):
        # T (1 - phi) / (1 + phi): a third at phi = 1/2.
        assert np.mean(effective_sample_size(ar1(0.5))) == pytest.approx(4000 / 3, rel=0.05)

    def test_of_a_constant_chain_is_one_and_leaves_its_neighbours_alone(self):
        trace = white(100, 3)
        alone = effective_sample_size(trace)[[0, 2]]
        trace[:, 1] = 7.0
        sizes = effective_sample_size(trace)
        assert sizes[1] == 1
        np.testing.assert_allclose(sizes[[0, 2]], alone)

    def test_of_a_descent_stays_small_however_long_it_is(self):
        for length in (100, 1000):
            descent = np.linspace(1, 0, length)[:, None] + 0.01 * white(length, 5)
            assert np.max(effective_sample_size(descent)) < 4

    def test_does_not_depend_on_units(self):
        trace = ar1(0.5, 100, 3)
        np.testing.assert_allclose(effective_sample_size(5 - 100 * trace), effective_sample_size(trace))


class TestAutocorrelation:
    def test_of_an_autoregression_is_a_power_of_its_coefficient(self):
        values = autocorrelation(ar1(0.8), 5)
        assert values.shape == (6, 20)
        np.testing.assert_allclose(values.mean(axis=1), 0.8 ** np.arange(6), atol=0.02)

    def test_of_an_alternating_chain_alternates(self):
        values = autocorrelation(np.tile([1.0, -1.0], 50)[:, None], 3)[:, 0]
        np.testing.assert_allclose(values, [1, -1, 1, -1], atol=1e-6)

    def test_of_a_constant_chain_is_one(self):
        np.testing.assert_array_equal(autocorrelation(np.full([10, 2], 3.0)), np.ones([10, 2]))


@pytest.mark.parametrize("measure", [autocorrelation, effective_sample_size])
def test_traces_that_say_nothing_are_refused(measure):
    with pytest.raises(ValueError, match=r"trace \[T, N\]"):
        measure(np.zeros(10))
    with pytest.raises(ValueError, match="at least 4 readings"):
        measure(np.zeros([3, 2]))
    with pytest.raises(ValueError, match="finite trace"):
        measure(np.full([10, 2], np.nan))


def test_drift_to_noise_is_the_ratio_of_two_lengths():
    # A drift of 0.5 * 6 = 3 against noise of 0.1 in each of 100 values, 1 in all.
    assert drift_to_noise(np.array([6.0, 0.0]), Steps(0.5, 0.1), 100).tolist() == pytest.approx([3, 0])
    # Langevin on |x|^2 / 2: |grad| is sqrt(D) in equilibrium, and the ratio sqrt(alpha) / 2.
    assert drift_to_noise(np.sqrt(49), SGLD(alpha=0.04).steps_at(0), 49) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="noise_std above 0"):
        drift_to_noise(np.ones(2), Steps(1.0, 0.0), 4)


def test_saturation_counts_what_is_at_the_ends_or_beyond():
    images = np.array([[0.0, 0.5, 1.0, 0.25], [-1.0, 2.0, 0.0, 1.0]]).reshape(2, 2, 2, 1)
    np.testing.assert_array_equal(saturation(images), [0.5, 1.0])


class TestCollapse:
    def test_images_of_the_same_kind_have_the_same_spread(self):
        found = collapse(*of_classes(per_class=200), *of_classes(per_class=200, seed=1))
        assert found[:3] == pytest.approx((1, 1, 1), abs=0.05)
        assert not found.alarm

    def test_images_are_exactly_as_diverse_as_themselves(self):
        data = of_classes()
        assert collapse(*data, *data)[:3] == (1, 1, 1)

    def test_spread_within_classes_scales_with_theirs(self):
        images, labels = of_classes()
        center = 0.25 + 0.25 * labels[:, None, None, None]
        found = collapse(center + (images - center) / 4, labels, images, labels)
        assert found.within_class_std == pytest.approx(1 / 4)
        assert found.nearest_distance == pytest.approx(1 / 4)
        assert found.pairwise_distance > 0.5  # the classes still differ
        assert found.alarm

    def test_one_image_of_each_class_has_no_spread_within(self):
        images, labels = of_classes()
        found = collapse(images[labels], labels, images, labels)
        assert found.within_class_std == pytest.approx(0, abs=1e-6)
        assert found.nearest_distance == pytest.approx(0, abs=1e-6)
        assert found.alarm

    def test_a_few_images_copied_are_found_by_the_nearest_alone(self):
        images, labels = of_classes()
        few = np.tile(images[:12], (5, 1, 1, 1))  # four of each class, five times
        found = collapse(few, labels, images, labels)
        assert found.within_class_std > 0.7
        assert found.pairwise_distance > 0.7
        assert found.nearest_distance == pytest.approx(0, abs=1e-6)
        assert found.alarm

    def test_one_image_for_all_classes_has_no_distances(self):
        images, labels = of_classes()
        assert collapse(0 * images, labels, images, labels)[:4] == (0, 0, 0, True)

    def test_the_threshold_is_what_gives_the_alarm(self):
        images, labels = of_classes()
        settings = (0.8 * images, labels, images, labels)
        assert not collapse(*settings).alarm
        assert collapse(*settings, threshold=0.9).alarm

    def test_images_that_cannot_be_compared_are_refused(self):
        images, labels = of_classes()
        with pytest.raises(ValueError, match="shape"):
            collapse(images[:, :2], labels, images, labels)
        with pytest.raises(ValueError, match="finite"):
            collapse(images * np.nan, labels, images, labels)
        with pytest.raises(ValueError, match="at least 2 images"):
            collapse(images[:3], labels[:3], images, labels)


class TestDiagnose:
    def traces(self, energy):
        norms = np.full_like(energy, 2.0)
        return {"trace_step": 10 * np.arange(len(energy)), "trace_energy": energy, "trace_gradient_norm": norms}

    def test_all_is_json(self):
        data = of_classes()
        found = diagnose(self.traces(ar1(0.5, 50, 4)), *data, *data, seen=data[1], steps=[Steps(0.1, 0.05)] * 50)
        assert typed(ChainDiagnosis, json.loads(json.dumps(plain(found)))) == found
        assert found.chains == 4
        assert found.steps_between_readings == 10
        assert found.drift_to_noise == pytest.approx([1.0] * 50)  # 0.1 * 2 / (0.05 * sqrt(16))
        assert found.share_of_each_class == pytest.approx([1 / 3] * 3)

    def test_a_class_that_no_reference_has_is_counted(self):
        images, labels = of_classes()
        few = labels < 2
        found = diagnose(self.traces(ar1(0.5, 50, 4)), images, labels, images[few], labels[few], seen=labels)
        assert found.share_of_each_class == pytest.approx([1 / 3] * 3)
        found = diagnose(
            self.traces(ar1(0.5, 50, 4)), images, labels, images[few], labels[few], seen=labels, num_classes=5
        )
        assert found.share_of_each_class == pytest.approx([1 / 3] * 3 + [0, 0])

    def test_its_spread_is_that_of_the_references(self):
        data = of_classes()
        found = diagnose(self.traces(ar1(0.5, 50, 4)), *data, *data)
        assert found.collapse.within_class_std == 1
        assert 1 < found.effective_sample_size < 50

    def test_chains_that_diverged_are_counted_and_left_out(self):
        images, labels = of_classes()
        energy = np.zeros([8, 3])
        energy[5:, 1] = np.nan
        broken = images.copy()
        broken[0, 0, 0, 0] = np.inf
        found = diagnose(self.traces(energy), broken, labels, images, labels)
        assert found.chains_not_finite == 1
        assert found.energy_last == 0
        assert found.effective_sample_size == 1
        assert np.isfinite(found.collapse.within_class_std)

    def test_chains_that_all_diverged_leave_nothing_to_say(self):
        images, labels = of_classes()
        found = diagnose(
            self.traces(np.full([8, 2], np.nan)), images * np.nan, labels, images, labels, steps=[Steps(0.1, 0.1)] * 8
        )
        assert found.chains_not_finite == 2
        for name in ("energy_last", "effective_sample_size", "saturated", "collapse", "drift_to_noise"):
            assert getattr(found, name) is None
        json.dumps(plain(found), allow_nan=False)

    def test_readings_at_the_same_step_count_once_and_by_the_last(self):
        data = of_classes()
        traces = self.traces(np.array([[9.0], [5.0], [4.0], [3.0]]))
        traces["trace_step"] = np.array([0, 0, 10, 20])
        found = diagnose(traces, *data, *data)
        assert found.readings == 3
        assert found.energy_first == 5

    def test_every_reading_is_compared_with_the_noise_of_its_own_stage(self):
        data = of_classes()
        traces = self.traces(np.zeros([5, 3]))
        traces["trace_step"] = np.array([0, 10, 20, 20, 30])
        steps = [Steps(0.1, 0.05), Steps(0.1, 0.05), Steps(0.1, 0.05), None, Steps(0.2, 0.05)]
        # Norms of 2 on images of 16 values; at step 20 the last reading counts, which is of a stage without noise.
        assert diagnose(traces, *data, *data, steps=steps).drift_to_noise == pytest.approx([1, 1, None, 2])
        assert diagnose(traces, *data, *data, steps=[None] * 5).drift_to_noise is None
        assert diagnose(traces, *data, *data).drift_to_noise is None

    def test_shares_are_of_the_classes_that_are_seen_in_finite_images(self):
        images, labels = of_classes()
        broken = images.copy()
        broken[0] = np.nan
        seen = np.where(np.arange(len(labels)) == 0, -1, np.minimum(labels, 1))
        found = diagnose(self.traces(np.zeros([4, 1])), broken, labels, images, labels, seen=seen)
        assert found.share_of_each_class == pytest.approx([19 / 59, 40 / 59, 0])

    def test_one_reading_and_one_image_of_a_class_are_too_few_to_tell(self):
        images, labels = of_classes()
        found = diagnose(self.traces(np.zeros([1, 2])), images[:3], labels[:3], images, labels)
        assert found.effective_sample_size is None
        assert found.steps_between_readings is None
        assert found.collapse is None
