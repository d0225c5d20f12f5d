"""Searches for adversarial images: where the nearest one is known in closed form, and by table."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.attacks import losses
from jeat_tf.attacks.apgd import apgd
from jeat_tf.attacks.carlini_wagner import carlini_wagner_l2, carlini_wagner_linf
from jeat_tf.attacks.fab import fab
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.search import _bucket, _looks
from jeat_tf.attacks.square import square
from jeat_tf.attacks.steps import noise_search, pgd_search
from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.balls import L2, Linf
from jeat_tf.models.cnn import small_cnn
from jeat_tf.models.precision import in_bfloat16
from tests.conftest import seed

COUNT = 24


class Linear:
    """A random linear net, images far from the ends of [0, 1], and their exact distances to the boundary."""

    def __init__(self, num_classes: int, scale: float = 1.0):
        rng = np.random.default_rng(num_classes)
        weights = rng.normal(size=(64, num_classes)).astype(np.float32)
        self.x = rng.uniform(0.4, 0.6, size=(COUNT, 8, 8, 1)).astype(np.float32)
        self.net = lambda x: scale * tf.matmul(tf.reshape(x, [-1, 64]), weights)
        self.oracle = Oracle(self.net)
        logits = self.net(self.x).numpy() / scale
        self.labels = logits.argmax(-1)
        gap = logits[np.arange(COUNT), self.labels][:, None] - logits
        slope = weights.T[None] - weights.T[self.labels][:, None]
        own = np.arange(num_classes) == self.labels[:, None]
        gap[own] = np.inf
        slope[own] = 1.0
        self.by_class = {"linf": gap / np.abs(slope).sum(-1), "l2": gap / np.linalg.norm(slope, axis=-1)}
        self.distance = {norm: distances.min(-1) for norm, distances in self.by_class.items()}


@pytest.fixture(scope="module", params=[2, 3, 10])
def linear(request):
    return Linear(request.param)


def measured(found, x, norm):
    offset = (found.x_adv - x).reshape(len(x), -1)
    return np.abs(offset).max(-1) if norm == "linf" else np.linalg.norm(offset, axis=-1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
class TestOnALinearNet:
    def ball(self, linear, norm):
        """Half of the images have a neighbour of another class inside it; none lies at its edge."""
        distances = np.sort(linear.distance[norm])
        epsilon = float(distances[COUNT // 2 - 1] + distances[COUNT // 2]) / 2
        return Linf(epsilon) if norm == "linf" else L2(epsilon)

    def test_apgd_breaks_exactly_those_that_can_be_broken(self, linear, norm):
        ball = self.ball(linear, norm)
        # The last of ten close classes can cost the cross-entropy an image or two: it is not the margin's direction.
        found = apgd(linear.oracle, linear.x, linear.labels, seed=seed(), ball=ball, loss=losses.dlr, num_steps=40)
        np.testing.assert_array_equal(found.broken, linear.distance[norm] < ball.epsilon)
        assert measured(found, linear.x, norm).max() <= ball.epsilon + 1e-6

    def test_pgd_on_the_margin_too(self, linear, norm):
        ball = self.ball(linear, norm)
        found = pgd_search(
            linear.oracle, linear.x, linear.labels, seed=seed(), ball=ball, loss=losses.margin,
            step_size=ball.epsilon / 4, num_steps=30,
        )  # fmt: skip
        # A gradient step follows the nearest logit of the iterate, which need not be the nearest class.
        assert np.sum(found.broken != (linear.distance[norm] < ball.epsilon)) <= 2
        assert not (found.broken & (linear.distance[norm] > ball.epsilon)).any()

    def test_fab_finds_the_least_distance(self, linear, norm):
        ball = Linf(0.5) if norm == "linf" else L2(5.0)
        found = fab(linear.oracle, linear.x, linear.labels, seed=seed(), ball=ball, num_steps=20, verdict_only=False)
        assert found.broken.all()
        ratio = measured(found, linear.x, norm) / linear.distance[norm]
        assert ratio.min() + 1e-5 >= 1
        assert ratio.max() < 1.01

    def test_fab_to_a_target_finds_the_least_distance_to_its_boundary(self, linear, norm):
        targets = (linear.labels + 1) % linear.by_class[norm].shape[1]
        ball = Linf(0.5) if norm == "linf" else L2(5.0)
        found = fab(
            linear.oracle, linear.x, linear.labels, seed=seed(), ball=ball, num_steps=20, verdict_only=False,
            targets=targets,
        )  # fmt: skip
        nearest = linear.distance[norm]
        to_target = linear.by_class[norm][np.arange(COUNT), targets]
        distance = measured(found, linear.x, norm)
        assert (distance >= nearest - 1e-5).all()
        assert (distance <= to_target * 1.01).all()

    def test_fab_settles_verdicts_early(self, linear, norm):
        ball = self.ball(linear, norm)
        found = fab(linear.oracle, linear.x, linear.labels, seed=seed(), ball=ball)
        inside = found.broken & (measured(found, linear.x, norm) <= ball.epsilon)
        clear = np.abs(linear.distance[norm] / ball.epsilon - 1) > 0.01
        np.testing.assert_array_equal(inside[clear], (linear.distance[norm] < ball.epsilon)[clear])
        assert found.gradients.max() > found.gradients.min()

    def test_nothing_breaks_what_cannot_be_broken(self, linear, norm):
        least = float(linear.distance[norm].min()) * 0.99
        ball = Linf(least) if norm == "linf" else L2(least)
        for search in (
            functools.partial(apgd, num_steps=10),
            functools.partial(square, num_queries=20),
            functools.partial(noise_search, num_draws=5),
        ):
            found = search(linear.oracle, linear.x, linear.labels, seed=seed(), ball=ball)
            assert not found.broken.any()

    def test_square_breaks_what_any_start_breaks(self, linear, norm):
        size = 3 * float(linear.distance[norm].max())
        ball = Linf(min(size, 0.4)) if norm == "linf" else L2(size)
        found = square(linear.oracle, linear.x, linear.labels, seed=seed(), ball=ball, num_queries=400)
        assert found.broken.mean() > 0.9
        assert measured(found, linear.x, norm).max() <= ball.epsilon + 1e-6


def test_carlini_wagner_l2_finds_nearly_the_least_distance(linear):
    found = carlini_wagner_l2(
        linear.oracle, linear.x, linear.labels, seed=seed(), num_steps=150, learning_rate=0.02, constant=0.01,
        search_steps=6,
    )  # fmt: skip
    assert found.broken.all()
    ratio = measured(found, linear.x, "l2") / linear.distance["l2"]
    assert ratio.min() > 1 - 1e-5
    assert np.median(ratio) < 1.05


def test_carlini_wagner_linf_finds_nearly_the_least_distance(linear):
    found = carlini_wagner_linf(
        linear.oracle,
        linear.x,
        linear.labels,
        seed=seed(),
        num_steps=150,
        max_gradients=3000,
        learning_rate=0.01,
        constant=0.01,
    )
    assert found.broken.all()
    ratio = measured(found, linear.x, "linf") / linear.distance["linf"]
    assert ratio.min() > 1 - 1e-5
    assert np.median(ratio) < 1.25


def test_a_fixed_constant_that_is_too_small_breaks_nothing():
    linear = Linear(4)
    settings = {"seed": seed(), "num_steps": 60, "search_steps": 1}
    weak = carlini_wagner_l2(linear.oracle, linear.x, linear.labels, constant=1e-4, **settings)
    strong = carlini_wagner_l2(linear.oracle, linear.x, linear.labels, constant=10.0, learning_rate=0.05, **settings)
    assert weak.broken.mean() < 0.2
    assert strong.broken.all()


EPSILON = 0.15
SEARCHES = {
    "noise": functools.partial(noise_search, ball=Linf(EPSILON), num_draws=10),
    "fgsm": functools.partial(pgd_search, ball=Linf(EPSILON), step_size=EPSILON, num_steps=1, random_start=False),
    "pgd": functools.partial(pgd_search, ball=Linf(EPSILON), step_size=EPSILON / 4, num_steps=10),
    "pgd_l2": functools.partial(pgd_search, ball=L2(1.0), step_size=0.25, num_steps=10),
    "energy": functools.partial(
        pgd_search, ball=Linf(EPSILON), loss=losses.joint_energy, step_size=EPSILON / 4, num_steps=10
    ),
    "apgd": functools.partial(apgd, ball=Linf(EPSILON), num_steps=10),
    "apgd_dlr_l2": functools.partial(apgd, ball=L2(1.0), loss=losses.dlr, num_steps=10),
    "square": functools.partial(square, ball=Linf(EPSILON), num_queries=60),
    "square_l2": functools.partial(square, ball=L2(1.0), num_queries=60),
    "fab": functools.partial(fab, ball=Linf(EPSILON), num_steps=5, random_start=True),
    "cw_l2": functools.partial(carlini_wagner_l2, num_steps=30, search_steps=2, constant=1.0, learning_rate=0.05),
    "cw_linf": functools.partial(carlini_wagner_linf, num_steps=30, max_gradients=90, constant=1.0, learning_rate=0.05),
}
BOUNDED = {"noise", "fgsm", "pgd", "pgd_l2", "energy", "apgd", "apgd_dlr_l2", "square", "square_l2"}


@pytest.fixture(scope="module")
def oracle(trained_net):
    return Oracle(inference(trained_net))


@pytest.fixture(scope="module")
def images(digit_arrays):
    x, y = digit_arrays
    return x[:COUNT], y[:COUNT]


@pytest.mark.parametrize("name", SEARCHES)
class TestAnySearch:
    def test_what_it_returns_is_what_it_says(self, name, oracle, images, trained_net):
        x, labels = images
        found = SEARCHES[name](oracle, x, labels, seed=seed())
        assert found.x_adv.dtype == np.float32
        assert found.x_adv.shape == x.shape
        assert np.isfinite(found.x_adv).all()
        assert found.x_adv.min() >= 0
        assert found.x_adv.max() <= 1
        np.testing.assert_array_equal(found.broken, trained_net(found.x_adv).numpy().argmax(-1) != labels)
        if name in BOUNDED:
            ball = SEARCHES[name].keywords["ball"]
            assert ball.distance(tf.constant(found.x_adv), tf.constant(x)).numpy().max() <= ball.epsilon + 1e-6
        if name != "noise":  # which is what the others have to beat
            assert found.broken.mean() > np.mean(trained_net(x).numpy().argmax(-1) != labels)
        assert (found.forwards + found.gradients > 0).all()

    def test_an_image_gets_the_same_answer_in_any_company(self, name, oracle, images):
        x, labels = images
        together = SEARCHES[name](oracle, x, labels, seed=seed(3))
        order = np.random.default_rng(0).permutation(COUNT)[:7]
        apart = SEARCHES[name](oracle, x[order], labels[order], seed=seed(3))
        np.testing.assert_array_equal(apart.broken, together.broken[order])
        np.testing.assert_allclose(apart.x_adv, together.x_adv[order], atol=1e-4)

    def test_one_image_and_images_that_are_misclassified_already(self, name, oracle, images):
        x, labels = images
        assert SEARCHES[name](oracle, x[:1], labels[:1], seed=seed()).broken.shape == (1,)
        wrong = (labels[:3] + 1) % 10
        found = SEARCHES[name](oracle, x[:3], wrong, seed=seed())
        assert found.broken.all()


# One of each kind: what is not here shares its arithmetic with one that is.
KINDS = ("pgd", "apgd_dlr_l2", "square_l2", "fab", "cw_l2", "cw_linf")


@pytest.mark.parametrize("name", KINDS)
class TestNumericalSafety:
    def is_what_it_says(self, found, name, net, x, labels):
        assert found.x_adv.min() >= 0
        assert found.x_adv.max() <= 1
        np.testing.assert_array_equal(found.broken, np.argmax(net(found.x_adv), axis=-1) != labels)
        if name in BOUNDED:
            ball = SEARCHES[name].keywords["ball"]
            assert np.max(ball.distance(found.x_adv, x)) <= ball.epsilon + 1e-6

    @pytest.mark.parametrize("scale", [1e4, 0.0])
    def test_huge_and_constant_logits_do_no_harm(self, name, scale, images):
        x, labels = images
        weights = tf.constant(np.random.default_rng(0).normal(size=(64, 10)), tf.float32)

        def net(z):
            return scale * tf.matmul(tf.reshape(z, [-1, 64]), weights)

        found = SEARCHES[name](net, x[:5], labels[:5] * 0, seed=seed())
        self.is_what_it_says(found, name, net, x[:5], labels[:5] * 0)
        if scale == 0:  # ties: the first class is predicted
            assert not found.broken.any()

    def test_a_net_without_gradients_does_no_harm(self, name, images):
        x, labels = images
        weights = tf.constant(np.random.default_rng(0).normal(size=(64, 10)), tf.float32)

        def net(z):
            return tf.matmul(tf.reshape(tf.round(8 * z) / 8, [-1, 64]), weights)

        found = SEARCHES[name](net, x[:5], labels[:5], seed=seed())
        self.is_what_it_says(found, name, net, x[:5], labels[:5])
        wrong = np.argmax(net(x[:5]), axis=-1) != labels[:5]
        assert found.broken[wrong].all()
        if name in ("cw_l2", "cw_linf", "fab"):  # they have nothing to go by, and begin at the image
            np.testing.assert_array_equal(found.broken, wrong)
            np.testing.assert_array_equal(found.x_adv[~wrong], x[:5][~wrong])


TARGETED = {
    "pgd": functools.partial(
        pgd_search, ball=Linf(0.4), loss=losses.targeted_cross_entropy, step_size=0.1, num_steps=15
    ),
    "apgd": functools.partial(apgd, ball=Linf(0.4), loss=losses.targeted_dlr, num_steps=20),
    "square": functools.partial(square, ball=Linf(0.4), num_queries=300),
    "fab": functools.partial(fab, ball=Linf(0.4), num_steps=10),
    "cw_l2": functools.partial(carlini_wagner_l2, num_steps=60, search_steps=2, constant=5.0, learning_rate=0.05),
    "cw_linf": functools.partial(
        carlini_wagner_linf, num_steps=60, max_gradients=300, constant=1.0, learning_rate=0.05
    ),
}


@pytest.mark.parametrize("name", TARGETED)
def test_a_targeted_success_is_the_target(name, oracle, images, trained_net):
    x, labels = images
    targets = (labels + 3) % 10
    found = TARGETED[name](oracle, x, labels, seed=seed(), targets=targets, targeted=True)
    np.testing.assert_array_equal(found.broken, trained_net(found.x_adv).numpy().argmax(-1) == targets)
    assert found.broken.mean() > 0.3


def test_images_that_are_done_leave_the_batch():
    rows = []

    def net(x):
        tf.py_function(lambda count: rows.append(int(count)), [tf.shape(x)[0]], [])
        brightness = tf.reduce_mean(x, axis=(1, 2, 3))
        return tf.stack([0.8 - brightness, brightness], axis=-1) - 1.0  # above 0 they would be taken for probabilities

    x = np.linspace(0.1, 0.39, 32, dtype=np.float32)[:, None, None, None] * np.ones((32, 8, 8, 1), np.float32)
    pgd_search(net, x, np.zeros(32, int), seed=seed(), ball=Linf(0.3), step_size=0.02, num_steps=15, random_start=False)
    assert rows[1] == 32
    assert rows[-2] < 12
    assert set(rows[1:]) <= {1, 2, 3, 4, 6, 8, 12, 16, 24, 32}


def test_one_trace_whatever_the_batch(images):
    traces = []
    x, labels = images
    weights = tf.constant(np.random.default_rng(0).normal(size=(64, 10)), tf.float32)

    def net(z):
        traces.append(z.shape)
        return tf.matmul(tf.reshape(z, [-1, 64]), weights)

    oracle = Oracle(net)
    apgd(oracle, x, labels, seed=seed(), ball=Linf(0.05), num_steps=5)
    after_one = len(traces)
    for count in (3, 7, 20):
        attack = functools.partial(apgd, ball=Linf(0.05), num_steps=5)
        attack(oracle, x[:count], labels[:count], seed=seed(count))
    assert len(traces) == after_one


def test_under_xla_the_same_images_are_broken():
    linear = Linear(4)
    found = SEARCHES["apgd"](linear.oracle, linear.x, linear.labels, seed=seed())
    compiled = SEARCHES["apgd"](Oracle(linear.net, jit_compile=True), linear.x, linear.labels, seed=seed())
    np.testing.assert_array_equal(found.broken, compiled.broken)
    assert np.isfinite(compiled.x_adv).all()


def test_a_hundred_classes():
    linear = Linear(100)
    distances = np.sort(linear.distance["linf"])
    ball = Linf(float(distances[COUNT // 2 - 1] + distances[COUNT // 2]) / 2)
    breakable = linear.distance["linf"] < ball.epsilon
    for search in (functools.partial(apgd, loss=losses.dlr, num_steps=40), functools.partial(fab, num_steps=15)):
        found = search(linear.oracle, linear.x, linear.labels, seed=seed(), ball=ball)
        inside = found.broken & (measured(found, linear.x, "linf") <= ball.epsilon + 1e-6)
        np.testing.assert_array_equal(inside, breakable)


@pytest.mark.parametrize("num_steps", [1, 7, 100])
def test_looks_cover_all_steps_once(num_steps):
    stretches = list(_looks(num_steps))
    assert [i for start, stop in stretches for i in range(start, stop)] == list(range(num_steps))


def test_buckets_hold_what_they_should_with_little_waste():
    for count in range(1, 300):
        assert count <= _bucket(count) <= max(count * 3 // 2, count)
    assert len({_bucket(count) for count in range(1, 257)}) == 16


class TestAPGD:
    def test_checkpoints_are_the_published_ones(self):
        from jeat_tf.attacks.apgd import _windows

        assert [int(i) + 1 for i in np.flatnonzero(_windows(100))] == [22, 41, 57, 70, 80, 87, 93, 99]
        assert [int(i) + 1 for i in np.flatnonzero(_windows(20))][:3] == [4, 7, 9]

    def test_it_starts_on_the_surface(self):
        linear = Linear(4)
        for ball in (Linf(0.01), L2(0.1)):
            start = ball.random_direction((8, 8, 1), seed())
            assert ball.distance(start[None], tf.zeros([1, 8, 8, 1])).numpy() == pytest.approx(1.0, rel=1e-5)
        found = apgd(linear.oracle, linear.x, linear.labels, seed=seed(), ball=Linf(0.001), num_steps=1)
        assert measured(found, linear.x, "linf").max() == pytest.approx(0.001, rel=1e-3)

    def test_a_random_net_is_averaged(self):
        linear = Linear(4)
        noise = keras.random.SeedGenerator(0)

        def noisy(x):
            return linear.net(x) + keras.random.normal([tf.shape(x)[0], 4], stddev=3.0, seed=noise)

        calm = apgd(Oracle(noisy, samples=200), linear.x, linear.labels, seed=seed(), ball=Linf(0.2), num_steps=5)
        assert calm.gradients.max() <= 200 * 6
        assert calm.broken.mean() > 0.9


class TestSquare:
    def test_sides_are_the_published_ones(self):
        from jeat_tf.attacks.square import _side

        queries = (0, 11, 51, 201, 501, 1001, 2001, 4001)
        assert [_side(q, 32, 32, 0.8, "linf") for q in queries] == [29, 20, 14, 10, 7, 5, 4, 3]
        assert [_side(q, 32, 32, 0.8, "l2") for q in queries] == [29, 21, 15, 11, 7, 5, 5, 3]

    def test_a_bump_has_unit_length_and_two_signs(self):
        from jeat_tf.attacks.square import _bump

        for side in (3, 5, 8):
            bump = _bump(side, "l2")
            assert np.square(bump).sum() == pytest.approx(1.0)
            assert (bump[: side // 2] > 0).any()
            assert (bump[side // 2 :] < 0).any()

    def test_tiny_images_are_refused_in_l2(self):
        with pytest.raises(ValueError, match="5 x 5"):
            square(Linear(3).net, np.full((2, 4, 4, 1), 0.5, np.float32), [0, 0], seed=seed(), ball=L2(1.0))


class TestBfloat16:
    def test_verdicts_are_those_of_float32(self, digit_arrays):
        x, labels = digit_arrays[0][:40], digit_arrays[1][:40]
        keras.utils.set_random_seed(0)
        net = small_cnn((8, 8, 1), 10, widths=(8, 8))
        oracle = Oracle(inference(net), coarse_fn=inference(in_bfloat16(net)))
        labels = net(x).numpy().argmax(-1)
        attack = functools.partial(apgd, ball=Linf(0.1), num_steps=15)
        coarse = attack(oracle, x, labels, seed=seed())
        np.testing.assert_array_equal(coarse.broken, net(coarse.x_adv).numpy().argmax(-1) != labels)
        exact = attack(Oracle(inference(net)), x, labels, seed=seed())
        assert np.mean(coarse.broken != exact.broken) <= 0.05
        assert exact.broken.mean() > 0.05

    def test_a_net_inside_a_net_is_copied_too(self):
        inputs = keras.Input((8, 8, 1))
        net = keras.Model(inputs, keras.layers.Rescaling(2.0)(small_cnn((8, 8, 1), 10, widths=(4, 4))(inputs)))
        x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
        np.testing.assert_allclose(tf.cast(in_bfloat16(net)(x), tf.float32), net(x), atol=0.05)

    def test_the_copy_is_the_same_net(self):
        net = small_cnn((8, 8, 1), 10, widths=(4, 4), norm="batch")
        copy = in_bfloat16(net)
        x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
        assert copy.layers[2].compute_dtype == "bfloat16"
        assert copy.layers[2].variable_dtype == "float32"
        np.testing.assert_allclose(tf.cast(copy(x), tf.float32), net(x), atol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.full((2, 8, 8, 1), 3.0, np.float32)}, "divide by 255"),
        ({"x": np.zeros((2, 8, 8), np.float32)}, r"\[B, H, W, C\]"),
        ({"x": np.zeros((2, 8, 8, 1), np.uint8)}, "float images"),
        ({"labels": np.array([0, 4])}, "0..3"),
        ({"labels": np.array([0])}, "a label for each of"),
        ({"labels": np.array([0.0, 1.0])}, "integer labels"),
        ({"targets": np.array([0, 1])}, "another class"),
        ({"targets": np.array([1, 9])}, "0..3"),
        ({"targeted": True}, "expected targets"),
        ({"num_steps": 0}, "num_steps >= 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    given = {"x": np.full((2, 8, 8, 1), 0.5, np.float32), "labels": np.array([0, 0]), **change}
    with pytest.raises(ValueError, match=message):
        apgd(Linear(4).net, given.pop("x"), given.pop("labels"), seed=seed(), ball=Linf(0.1), **given)


class TestLosses:
    LOGITS = tf.constant([[3.0, 1.0, 0.5, -2.0], [0.0, 2.0, 4.0, 1.0]])
    LABELS = tf.constant([0, 1])
    TARGETS = tf.constant([2, 2])

    def value(self, loss):
        return loss(self.LOGITS, self.LABELS, self.TARGETS).numpy()

    def test_by_hand(self):
        np.testing.assert_allclose(self.value(losses.margin), [-2.0, 2.0])
        np.testing.assert_allclose(self.value(losses.dlr), [-2.0 / 2.5, 2.0 / 3.0])
        np.testing.assert_allclose(self.value(losses.targeted_margin), [-2.5, 2.0])
        np.testing.assert_allclose(self.value(losses.targeted_dlr), [-2.5 / 3.75, 2.0 / 3.5])
        np.testing.assert_allclose(self.value(losses.target_lead), [-2.5, 2.0])
        np.testing.assert_allclose(self.value(losses.joint_energy), [-3.0, -2.0])

    def test_cross_entropies_are_log_probabilities(self):
        log_p = tf.nn.log_softmax(self.LOGITS).numpy()
        np.testing.assert_allclose(self.value(losses.cross_entropy), -log_p[[0, 1], [0, 1]], rtol=1e-6)
        np.testing.assert_allclose(self.value(losses.targeted_cross_entropy), log_p[[0, 1], [2, 2]], rtol=1e-6)

    @pytest.mark.parametrize("classes", [2, 3])
    def test_few_classes_have_a_form_of_their_own(self, classes):
        logits = self.LOGITS[:1, :classes]
        value = losses.targeted_dlr(logits, tf.constant([0]), tf.constant([1])).numpy()
        assert value == pytest.approx([-2.0 if classes == 2 else -2.0 / 2.5])
        assert losses.dlr(logits, tf.constant([0]), None).numpy() == pytest.approx([-2.0 if classes == 2 else -0.8])
