"""What is known before the first step is said before it, and all at once."""

import keras
import numpy as np
import pytest

import jeat_tf as jt
from jeat_tf.attacks.ensemble import autoattack
from jeat_tf.config.draw import DrawConfig
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.flags import parsed
from jeat_tf.config.sample import SampleConfig
from jeat_tf.draw.run import draw
from jeat_tf.evaluate.command import main as evaluate
from jeat_tf.sample.run import sample
from tests.conftest import linear_net


def test_all_flags_that_are_missing_are_named_at_once():
    with pytest.raises(ValueError, match=r"expected a net, .*--model.*; expected --dataset, .*; expected --epsilon"):
        evaluate(EvaluateConfig())
    with pytest.raises(ValueError, match="expected a net, .*--model.*; expected a data set, .*--dataset"):
        sample(SampleConfig())


def test_what_is_wrong_in_one_way_is_said_once():
    said = []
    for epsilon in ("8", "abc"):
        with pytest.raises(ValueError, match="expected") as refused:
            evaluate(parsed(EvaluateConfig, "--model=net.keras", "--dataset=digits", f"--epsilon={epsilon}"))
        said.append(str(refused.value))
    assert [text.count(word) for text, word in zip(said, ("write 8/255", '"abc"'), strict=True)] == [1, 1]


def test_all_files_that_are_missing_are_named_before_anything_is_measured(tmp_path, monkeypatch):
    linear_net().save(tmp_path / "net.keras")
    monkeypatch.setattr("jeat_tf.evaluate.command.measure", None)  # nothing is measured
    flags = [f"--model={tmp_path}/net.keras", "--dataset=digits", "--epsilon=0.1", "--calibration"]
    flags += ["--transfer_from=no.keras", "--features=nor.keras", "--ood=uniform,none.npz", "--attacks=clean,pgd_20"]
    with pytest.raises(ValueError, match='unknown attack "pgd_20".*--transfer_from.*no.*--features.*nor.*--ood.*none'):
        evaluate(parsed(EvaluateConfig, *flags))
    with pytest.raises(ValueError, match="no net at a.keras.*; no net at b.keras"):
        draw(parsed(DrawConfig, "--models=a=a.keras,b=b.keras", f"--output_dir={tmp_path}/figures"))
    flags = [f"--model={tmp_path}/net.keras", "--dataset=digits", "--judge=no.keras", "--start_images=none.npz"]
    with pytest.raises(ValueError, match="--judge, received no.keras.*; expected a file in --start_images"):
        sample(parsed(SampleConfig, *flags))


@pytest.mark.parametrize("ball", [jt.L2(0.5), jt.L1(5.0)], ids=lambda ball: ball.norm)
def test_images_that_are_too_small_for_square_are_refused_before_the_first_pass(ball, tmp_path):
    x = np.random.default_rng(0).random((20, 4, 6, 1), np.float32)
    ran = []

    def net(x):
        ran.append(1)
        return linear(x)

    linear = keras.Sequential([keras.Input((4, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    y = np.argmax(linear(x), -1)
    for call in (
        lambda: jt.attacks.AutoAttack(ball)(net, x, y),
        lambda: autoattack(net, x, y, seed=[0, 0], ball=ball),
    ):
        with pytest.raises(ValueError, match="at least 5 x 5 pixels for Square.*leave that attack out"):
            call()
    assert not ran
    linear.save(tmp_path / "net.keras")
    np.savez(tmp_path / "small.npz", images=x, labels=y)
    flags = [f"--model={tmp_path}/net.keras", f"--dataset={tmp_path}/small.npz", f"--norm={ball.norm}", "--epsilon=0.5"]
    with pytest.raises(ValueError, match="at least 5 x 5 pixels for Square"):
        evaluate(parsed(EvaluateConfig, *flags, "--attacks=clean,autoattack", f"--output_dir={tmp_path}/a"))
    assert not (tmp_path / "a").exists()
    if ball.norm == "l2":  # the audit does without Square
        evaluate(parsed(EvaluateConfig, *flags, "--attacks=clean,pgd1", f"--output_dir={tmp_path}/b"))
