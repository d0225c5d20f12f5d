"""Every pass that an attack takes is counted: the clean image's, those of searches and orders, and the verdict's."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.attacks import carlini_wagner, losses, plans
from jeat_tf.attacks.apgd import apgd
from jeat_tf.attacks.fab import fab
from jeat_tf.attacks.named import Named
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.orders import by_logit, by_malt
from jeat_tf.attacks.square import square
from jeat_tf.attacks.steps import noise_search, pgd_search
from tests.conftest import tiny_cnn

X = np.random.default_rng(1).random((4, 8, 8, 1), np.float32)  # as many as a batch may be without being filled up


class Counted:
    """A net that counts the rows that go through it, forwards and backwards."""

    def __init__(self, net):
        self.net = net
        self.seen = {"forwards": [], "gradients": []}  # appended to: passes may run side by side

    @property
    def passes(self):
        return sum(map(sum, self.seen.values()))

    def __call__(self, x):
        @tf.custom_gradient
        def spy(x):
            def back(dy):
                return self._count("gradients", dy)

            return self._count("forwards", x), back

        return self.net(spy(x), training=False)

    def _count(self, name, x):
        def count(x):
            self.seen[name].append(len(x))
            return x

        counted = tf.py_function(count, [x], tf.float32)
        counted.set_shape(x.shape)
        return counted


SEARCHES = {
    "pgd": functools.partial(pgd_search, step_size=0.05, num_steps=6),
    "noise": functools.partial(noise_search, num_draws=5),
    "apgd": functools.partial(apgd, num_steps=8),
    "apgd-t": functools.partial(apgd, loss=losses.targeted_dlr, num_steps=8),
    "fab": functools.partial(fab, num_steps=4),
    "fab-t": functools.partial(fab, num_steps=4),
    "square": functools.partial(square, num_queries=9),
    "cw_l2": functools.partial(carlini_wagner.carlini_wagner_l2, num_steps=5, search_steps=3),
    "cw_linf": functools.partial(carlini_wagner.carlini_wagner_linf, num_steps=5, max_gradients=12),
}


@pytest.mark.parametrize(
    ("name", "ball", "samples"),
    [
        *((name, jt.Linf(0.02), 1) for name in SEARCHES),
        ("fab-t", jt.L2(0.2), 1),
        ("apgd-t", jt.L1(2.0), 1),
        ("pgd", jt.Linf(0.02), 2),
    ],
)
def test_every_pass_is_counted(name, ball, samples):
    search = SEARCHES[name]
    if "cw" not in name:
        search = functools.partial(search, ball=ball)
    target = 0 if name.endswith("-t") else None
    run = plans.Run(name, search, ball, passes=0, target=target, bounded=not name.startswith(("fab", "cw")))
    order = by_malt if name == "apgd-t" else by_logit
    net = tiny_cnn(num_classes=5)
    counted = Counted(net)
    attack = Named(name, ball, plans.Plan((run,), order), "")
    found = attack.robustness(Oracle(counted, samples=samples), X, np.argmax(net(X), -1))
    assert found.correct.all()
    assert found.passes == counted.passes


def test_evaluations_count_what_they_take():
    net = tiny_cnn(num_classes=3)
    for attack in (jt.attacks.PGD(jt.Linf(0.05), steps=3), jt.attacks.FGSM(jt.Linf(0.3))):
        counted = Counted(net)
        found = attack.against(counted, X, np.argmax(net(X), -1))
        assert found.passes == counted.passes
