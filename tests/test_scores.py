import json
import time
import warnings

import numpy as np
import pytest
import scipy.linalg

from jeat_tf.core.records import plain, typed
from jeat_tf.metrics.feature_statistics import ClassStatistics, FeatureStatistics
from jeat_tf.metrics.frechet import bias_note, frechet_distance, frechet_infinity, per_class_frechet
from jeat_tf.metrics.protocol import Protocol
from jeat_tf.metrics.scores import (
    SplitScore,
    _jackknife_variance,
    density_coverage,
    inception_score,
    kernel_distance,
    kernel_mmd,
    precision_recall,
    score_bias_note,
)

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(400, 6)) @ RNG.normal(size=(6, 6)), RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6)) + 1


def white(count: int, width: int) -> np.ndarray:
    """float64[count, width] whose mean is exactly 0 and whose covariance is exactly 1."""
    x = np.random.default_rng(1).normal(size=(count, width))
    x = x - x.mean(axis=0)
    return np.linalg.solve(np.linalg.cholesky(np.cov(x, rowvar=False)), x.T).T


class TestStatistics:
    def test_do_not_depend_on_the_blocks(self):
        whole = FeatureStatistics.of(A)
        parts = FeatureStatistics(6)
        for part in np.split(A, [1, 4, 4, 250]):
            parts.update(part)
        left, right = FeatureStatistics.of(A[:100]), FeatureStatistics.of(A[100:])
        left.merge(right)
        for statistics in (whole, parts, left):
            assert statistics.count == 400
            np.testing.assert_allclose(statistics.mean, A.mean(axis=0), rtol=1e-12)
            np.testing.assert_allclose(statistics.covariance, np.cov(A, rowvar=False), rtol=1e-12)

    def test_a_large_mean_costs_no_digits(self):
        # The sum of squares less the square of the sum has no correct digit here.
        statistics = FeatureStatistics(1)
        for _ in range(50):
            statistics.update(np.array([[1e9], [1e9 + 1], [1e9 + 2]]))
        assert statistics.covariance[0, 0] == pytest.approx(100 / 149, rel=1e-9)

    def test_of_classes_are_those_of_their_images_whatever_the_blocks(self):
        # Of class 3 there are fewer images than features.
        labels = np.where(np.arange(400) < 5, 3, np.arange(400) % 2)
        statistics = ClassStatistics(6, net_sha256="ab" * 32)
        for part in (slice(0, 4), slice(4, 5), slice(5, 251), slice(251, 400)):
            statistics.update(A[part], labels[part])
        assert statistics.counts == {0: 197, 1: 198, 3: 5}
        for label in (0, 1, 3):
            found = statistics.of(label)
            assert found.net_sha256 == "ab" * 32
            np.testing.assert_allclose(found.mean, A[labels == label].mean(axis=0), rtol=1e-12)
            np.testing.assert_allclose(found.covariance, np.cov(A[labels == label], rowvar=False), rtol=1e-9)
        assert statistics.of(2).count == 0

    def test_are_the_same_after_a_file(self, tmp_path):
        statistics = FeatureStatistics.of(A, net_sha256="ab" * 32)
        statistics.save(str(tmp_path / "a.npz"))
        loaded = FeatureStatistics.load(str(tmp_path / "a.npz"))
        assert (loaded.count, loaded.net_sha256) == (400, "ab" * 32)
        np.testing.assert_array_equal(loaded.mean, statistics.mean)
        np.testing.assert_array_equal(loaded.covariance, statistics.covariance)

    def test_refuse_a_file_of_something_else(self, tmp_path):
        np.savez(tmp_path / "other.npz", mu=np.zeros(3))
        (tmp_path / "text.npz").write_text("nothing")
        for name in ("other.npz", "text.npz"):
            with pytest.raises(ValueError, match="FeatureStatistics.save"):
                FeatureStatistics.load(str(tmp_path / name))
        with pytest.raises(FileNotFoundError):
            FeatureStatistics.load(str(tmp_path / "absent.npz"))

    def test_refuse_a_block_without_taking_any_of_it(self):
        statistics = FeatureStatistics.of(A)
        bad = np.tile(A, (20, 1))
        bad[-1, 0] = np.nan
        for block, message in [(bad, "finite"), (A[:, :5], "6 features"), (A[0], r"\[N, D\]")]:
            with pytest.raises(ValueError, match=message):
                statistics.update(block)
        assert statistics.count == 400

    def test_of_two_nets_are_not_joined_or_compared(self):
        a, b = FeatureStatistics.of(A, net_sha256="a" * 64), FeatureStatistics.of(B, net_sha256="b" * 64)
        with pytest.raises(ValueError, match="one net"):
            a.merge(b)
        with pytest.raises(ValueError, match="one net"):
            frechet_distance(a, b)


class TestFrechetDistance:
    def test_of_gaussians_in_closed_form(self):
        # Commuting covariances: |mean difference|^2 + sum of (std_a - std_b)^2.
        x = white(500, 3)
        a, b = x * [1.0, 2.0, 3.0], x * [2.0, 2.0, 1.0] + [1.0, 0.0, -1.0]
        assert frechet_distance(a, b) == pytest.approx(2 + 1 + 0 + 4, rel=1e-9)
        assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)

    def test_is_that_of_the_matrix_square_root(self):
        root = scipy.linalg.sqrtm(np.cov(A, rowvar=False) @ np.cov(B, rowvar=False)).real
        traces = np.trace(np.cov(A, rowvar=False)) + np.trace(np.cov(B, rowvar=False)) - 2 * np.trace(root)
        expected = np.sum((A.mean(axis=0) - B.mean(axis=0)) ** 2) + traces
        assert frechet_distance(A, B) == pytest.approx(expected, rel=1e-9)
        assert frechet_distance(FeatureStatistics.of(A), FeatureStatistics.of(B)) == frechet_distance(A, B)

    def test_of_features_that_never_vary_is_that_of_the_others(self):
        zeros = np.zeros((400, 4))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            distance = frechet_distance(np.hstack([A, zeros]), np.hstack([B, zeros[:300]]))
        assert distance == pytest.approx(frechet_distance(A, B), rel=1e-9)

    def test_of_constant_features_is_between_the_means(self):
        a, b = np.zeros((3, 2)), np.ones((3, 2))
        assert frechet_distance(a, b) == 2

    def test_of_fewer_images_than_features_warns_and_keeps_its_digits(self):
        # Two orthogonal subspaces: the root of the product vanishes, so that only traces and means are left.
        x = white(5, 4)
        a, b = np.hstack([x, np.zeros((5, 6))]), np.hstack([np.zeros((5, 6)), x])
        with pytest.warns(UserWarning, match="without full rank"):
            assert frechet_distance(a, b) == pytest.approx(8, rel=1e-12)
        with pytest.warns(UserWarning, match="without full rank"):
            assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)

    @pytest.mark.filterwarnings("ignore:.*without full rank")
    def test_of_far_more_features_than_images_is_the_product_of_the_images(self):
        a, b = (np.random.default_rng(seed).normal(size=(count, 4096)) for seed, count in ((0, 12), (1, 30)))
        c, d = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
        wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + (c**2).sum() + (d**2).sum()
        wanted -= 2 * np.linalg.svd(c @ d.T, compute_uv=False).sum()
        start = time.perf_counter()
        assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-10)
        assert time.perf_counter() - start < 3  # by matrices of 4096 x 4096 it takes ten seconds and more

    def test_its_bias_is_said(self):
        assert "9999 images" in bias_note(9999)
        assert bias_note(10_000) == ""

    def test_refuses_what_has_no_covariance(self):
        for a, message in [(A[:1], "at least 2"), (A[:, :5], "as many features"), (A * np.inf, "finite")]:
            with pytest.raises(ValueError, match=message):
                frechet_distance(a, B)

    def test_per_class_is_that_of_the_images_of_a_class(self):
        labels, reference_labels = np.arange(400) % 3, np.arange(300) % 3
        distances = per_class_frechet(A, labels.tolist(), B, reference_labels)
        assert list(distances) == [0, 1, 2]
        assert distances[1] == frechet_distance(A[1::3], B[1::3])
        with pytest.raises(ValueError, match=r"fewer of \[7\]"):
            per_class_frechet(A, np.where(labels == 2, 7, labels), B[reference_labels < 2], np.arange(200) % 2)
        with pytest.raises(ValueError, match="one label for each"):
            per_class_frechet(A, labels[1:], B, reference_labels)


class TestFrechetInfinity:
    def test_is_the_distance_of_the_distributions(self):
        # Both are standard normal: the distance is 0, and that of 2,000 samples is all bias.
        rng = np.random.default_rng(0)
        reference = FeatureStatistics.of(white(5000, 20))
        result = frechet_infinity(rng.normal(size=(2000, 20)), reference, seed=0)
        assert result.slope > 0
        assert abs(result.distance) < result.distances[-1] / 5
        assert (result.sizes[0], result.sizes[-1], len(result.sizes)) == (200, 2000, 15)
        assert result.distances[-1] == pytest.approx(
            frechet_distance(np.random.default_rng(0).normal(size=(2000, 20)), reference), rel=1e-9
        )

    def test_depends_on_its_seed_alone(self):
        reference = FeatureStatistics.of(B)
        first = frechet_infinity(A, reference, seed=1)
        np.random.default_rng(0).random()
        assert frechet_infinity(A, reference, seed=1) == first
        assert frechet_infinity(A, reference, seed=2) != first

    def test_refuses_too_few_samples(self):
        with pytest.raises(ValueError, match="at least 22 samples"):
            frechet_infinity(A[:21], FeatureStatistics.of(B))
        assert np.isfinite(frechet_infinity(A[:22], FeatureStatistics.of(B)).distance)
        with pytest.raises(ValueError, match="10 subset sizes"):
            frechet_infinity(A, FeatureStatistics.of(B), num_sizes=9)


class TestInceptionScore:
    def test_of_sure_and_balanced_classes_is_their_number(self):
        assert inception_score(np.tile(np.eye(5), (8, 1)), splits=4) == pytest.approx((5, 0), abs=1e-12)

    def test_of_a_net_that_knows_nothing_is_one(self):
        assert inception_score(np.full((50, 5), 0.2)) == pytest.approx((1, 0), abs=1e-12)

    def test_of_a_hand_computation(self):
        # Split 1: rows (1, 0), (0, 1) -> 2. Split 2: rows (1, 0), (1, 0) -> 1.
        p = np.array([[1, 0], [0, 1], [1, 0], [1, 0]])
        assert inception_score(p, splits=2) == (pytest.approx(1.5), pytest.approx(0.5))

    def test_does_not_depend_on_blocks(self):
        p = np.random.default_rng(0).dirichlet(np.ones(5), size=103)
        score = SplitScore(103, 5, splits=4)
        for part in np.split(p, [1, 30, 31, 90]):
            score.update(part)
        assert score.result() == pytest.approx(inception_score(p, splits=4))
        by_hand = [
            np.exp(np.mean(np.sum(part * np.log(part / part.mean(axis=0)), axis=1)))
            for part in np.split(p, [25, 51, 77])
        ]
        assert score.result() == pytest.approx((np.mean(by_hand), np.std(by_hand)))
        with pytest.raises(ValueError, match="expected 103 images, received 104"):
            score.update(p[:1])
        with pytest.raises(ValueError, match="expected 103 images, received 0"):
            SplitScore(103, 5).result()

    def test_of_splits_with_fewer_images_than_classes_says_so(self):
        assert inception_score(np.tile(np.eye(10), (6, 1)), splits=10).mean < 6.1
        assert "splits of 6 images, which score 6 at most, fewer than the 10 classes" in score_bias_note(60, 10, 10)
        assert score_bias_note(100, 10, 10) == ""

    def test_refuses_what_is_not_probabilities(self):
        p = np.full((50, 5), 0.2)
        for given, settings, message in [
            (p * 2, {}, "softmax"),
            (p - 0.4, {}, "softmax"),
            (p * np.nan, {}, "finite"),
            (p, {"splits": 51}, "splits"),
            (p[:4], {"splits": 1}, "5 classes"),
            (p[0], {}, r"\[N, D\]"),
        ]:
            with pytest.raises(ValueError, match=message):
                inception_score(given, **settings)


class TestKernelDistance:
    def test_of_a_hand_computation(self):
        # Kernel (x y + 1)^3 of scalars: between 0 and 1 it is 1, between 1 and 2 it is 27, between 0 and 2 it is 1.
        # Pairs within {0, 1}: 1; within {1, 2}: 27; between: 1, 1, 8, 27, whose mean is 37 / 4.
        a, b = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
        assert kernel_mmd(a, b) == pytest.approx(1 + 27 - 2 * 37 / 4)

    def test_does_not_depend_on_blocks(self):
        a, b = RNG.normal(size=(1500, 3)), RNG.normal(size=(1100, 3))
        kernels = [(x @ y.T / 3 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b))]
        within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in kernels[:2]]
        assert kernel_mmd(a, b) == pytest.approx(sum(within) - 2 * kernels[2].mean(), rel=1e-9)

    def test_of_one_distribution_is_zero_within_its_error(self):
        x = np.random.default_rng(3).normal(size=(2000, 4))
        mean, error = kernel_distance(x[:1000], x[1000:], subsets=50, subset_size=100)
        assert abs(mean) < 4 * error
        assert kernel_distance(x[:1000], x[1000:] + 1, subsets=50, subset_size=100).mean > 100 * error

    def test_of_all_images_is_that_of_each_subset(self):
        mean, error = kernel_distance(A[:300], B, subsets=2, subset_size=300)
        assert mean == pytest.approx(kernel_mmd(A[:300], B))
        assert error == kernel_distance(A[:300], B, subsets=9, subset_size=300).standard_error > 0

    def test_its_jackknife_leaves_out_one_image_after_the_other(self):
        a, b = A[:7], B[:9]
        left = [kernel_mmd(np.delete(a, i, axis=0), b) for i in range(7)]
        right = [kernel_mmd(a, np.delete(b, i, axis=0)) for i in range(9)]
        variance = 6 * np.var(left) + 8 * np.var(right)
        assert _jackknife_variance(a, b) == pytest.approx(variance, rel=1e-6)

    @pytest.mark.parametrize(("shift", "most"), [(0.5, 1.25), (0.0, 1.7)], ids=["two distributions", "one"])
    @pytest.mark.parametrize("subset_size", [60, 15], ids=["all", "subsets"])
    def test_its_error_is_the_spread_over_other_images(self, shift, most, subset_size):
        rng = np.random.default_rng(4)
        found = [
            kernel_distance(
                rng.normal(size=(60, 4)), rng.normal(size=(80, 4)) + shift, subsets=30, subset_size=subset_size, seed=i
            )
            for i in range(200)
        ]
        spread = np.std([distance.mean for distance in found])
        assert 0.85 < np.sqrt(np.mean([distance.standard_error**2 for distance in found])) / spread < most

    def test_refuses_subsets_that_cannot_be(self):
        for settings, message in [({"subsets": 1}, "2 subsets"), ({"subset_size": 301}, "subset size from 2 to 300")]:
            with pytest.raises(ValueError, match=message):
                kernel_distance(A, B, **settings)
        with pytest.raises(ValueError, match="at least 3"):
            kernel_distance(A[:2], B, subset_size=2)


class TestNeighbours:
    # Four real points on a line at 0, 1, 2, 3 and the distances to their nearest neighbour, 1.
    REAL = np.array([[0.0], [1.0], [2.0], [3.0]])

    def test_precision_and_recall_of_a_hand_computation(self):
        # 0.5 is within 1 of a real point, 4.5 and 10 are not. The samples' own radii are 4, 4 and 5.5, so that the
        # ball of the first, [-3.5, 4.5], holds all real points.
        samples = np.array([[0.5], [4.5], [10.0]])
        assert precision_recall(samples, self.REAL, k=1) == (pytest.approx(1 / 3), 1.0)

    def test_precision_and_recall_change_places_with_the_sets(self):
        few, many = A[:30], B[:40]
        assert precision_recall(few, many) == precision_recall(many, few)[::-1]

    def test_of_one_class_alone_is_precise_and_recalls_nothing_else(self):
        clusters = np.concatenate([RNG.normal(size=(50, 2)), RNG.normal(size=(50, 2)) + 100])
        precision, recall = precision_recall(clusters[:50], clusters)
        assert (precision, recall) == (1.0, 0.5)
        assert density_coverage(clusters[:50], clusters).coverage == 0.5

    def test_density_and_coverage_of_a_hand_computation(self):
        # 0.5 is in the balls of 0 and 1, 1.25 in those of 1 and 2, 9 in none: 4 of 3 samples, 3 of 4 real points.
        samples = np.array([[0.5], [1.25], [9.0]])
        assert density_coverage(samples, self.REAL, k=1) == (pytest.approx(4 / 3), 0.75)

    def test_do_not_depend_on_blocks(self, monkeypatch):
        a, b = RNG.normal(size=(700, 3)), RNG.normal(size=(900, 3)) + 0.5
        whole = precision_recall(a, b), density_coverage(a, b)
        monkeypatch.setattr("jeat_tf.metrics.scores._MEGABYTES", 0.1)
        assert (precision_recall(a, b), density_coverage(a, b)) == whole

    def test_refuse_fewer_images_than_neighbours(self):
        with pytest.raises(ValueError, match="at least 4"):
            precision_recall(A[:3], B)
        with pytest.raises(ValueError, match="at least 6"):
            density_coverage(A, B[:5])


class TestProtocol:
    FIELDS = {
        "n": 500,
        "classes": "balanced, in turn",
        "samples": "fresh chains",
        "start": "class Gaussians",
        "stages": ("sgld, 50 steps",),
        "steps": 50,
        "seed": 0,
        "generator_sha256": "cd" * 32,
        "reference_data": "digits",
        "reference_split": "train",
        "reference_count": 1260,
        "feature_net": "judge",
        "feature_kind": "classifier",
        "feature_sha256": "ab" * 32,
        "resize": "none",
        "splits": 10,
    }

    def test_is_json_and_back(self):
        protocol = Protocol(**self.FIELDS)
        stored = json.loads(json.dumps(plain(protocol)))
        assert stored["selection"] == "none"
        assert set(stored["software"]) >= {"jeat_tf", "tensorflow", "keras", "scipy"}
        assert typed(Protocol, stored) == protocol

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("classes", "", "none in classes"),
            ("feature_sha256", " ", "none in feature_sha256"),
            ("generator_sha256", "", "none in generator_sha256"),
            ("software", {}, "none in software"),
            ("samples", "the best ones", "replay buffer"),
            ("stages", "sgld", "tuple"),
            ("stages", (), "stages of the chains"),
            ("n", 0, "n >= 1"),
            ("seed", -1, "seed >= 0"),
        ],
    )
    def test_refuses_a_field_that_says_nothing(self, field, value, message):
        with pytest.raises(ValueError, match=message):
            Protocol(**{**self.FIELDS, field: value})


class TestFewImages:
    """Fewer images than features: the same distance, without a matrix of features by features."""

    @pytest.mark.parametrize(("n", "m"), [(12, 30), (30, 12), (12, 200), (200, 12)])
    def test_the_distance_is_that_of_the_covariances(self, n, m):
        rng = np.random.default_rng(0)
        a, b = rng.normal(size=(n, 60)), 0.5 + 2 * rng.normal(size=(m, 60)) @ np.diag(np.linspace(0.1, 2, 60))
        covariances = [np.cov(x, rowvar=False) for x in (a, b)]
        values, vectors = scipy.linalg.eigh(covariances[0])
        root = vectors * np.sqrt(np.maximum(values, 0))
        squares = np.sort(scipy.linalg.eigvalsh(root.T @ covariances[1] @ root))[-(min(n, m) - 1) :]
        wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(sum(covariances)) - 2 * np.sqrt(squares).sum()
        with pytest.warns(UserWarning, match="without full rank"):
            assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-10)

    def test_statistics_in_blocks_cross_the_number_of_features_unseen(self):
        x = np.random.default_rng(1).normal(size=(50, 20))
        blocks, whole = FeatureStatistics(20), FeatureStatistics.of(x)
        for i in range(0, 50, 7):
            blocks.update(x[i : i + 7])
            few = np.cov(x[: i + 7], rowvar=False)
            np.testing.assert_allclose(blocks.covariance, few, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(blocks.covariance, whole.covariance, rtol=1e-10, atol=1e-12)
        merged = FeatureStatistics.of(x[:12])
        merged.merge(FeatureStatistics.of(x[12:]))
        np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-10, atol=1e-12)
