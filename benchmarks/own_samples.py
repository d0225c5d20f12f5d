"""Does a robust net gain from labelled images that a net drew?

    python benchmarks/own_samples.py --runs=runs/own_samples [--seeds=0,1,2] [--artists=dat,jeat] [--shares=0.3,0.7]

For each seed an artist is trained by its preset in configs/digits and draws 1,000 images from uniform noise, 100 of
each class, by the rule of its paper. PGD-AT (configs/digits/pgd_at.flags) is then trained without them, and with a
share of them in each batch, labelled with the class that was asked for. Real images are seen as often, so that such a
run has more steps. It is therefore also trained on real images alone for about as many steps. All nets are attacked on
the test split. The artist's own row says what it reaches itself. What is finished is not run again. Prints a Markdown
table of means and standard deviations over seeds. Small scale: 8x8 images, 1,260 training images.
"""

import os

import keras
from absl import app, flags
from rows import head, row, spread

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.flags import parsed
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import flatten, replace
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.sample.run import sample
from jeat_tf.train.run import train

_RUNS = flags.DEFINE_string("runs", "runs/own_samples", "folder of the runs")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds")
_ARTISTS = flags.DEFINE_list("artists", ["dat", "jeat"], "presets of the nets that draw")
_SHARES = flags.DEFINE_list("shares", ["0.3", "0.7"], "shares of drawn images in a batch")
_ATTACKS = ("clean", "pgd20", "autoattack")


def main(_: list[str]) -> None:
    rows: dict[str, list[list[float]]] = {}
    epochs = flatten(parsed(TrainConfig, "--preset=digits/pgd_at"))["epochs"]
    for seed in _SEEDS.value:
        rows.setdefault("pgd_at, real images alone", []).append(_reached("pgd_at", seed, f"alone-{seed}"))
        for share in _SHARES.value:
            longer = f"--epochs={round(epochs / (1 - float(share)))}"
            reached = _reached("pgd_at", seed, f"alone-{share}-{seed}", longer)
            rows.setdefault(f"pgd_at, real images alone, steps as with share {share}", []).append(reached)
        for artist in _ARTISTS.value:
            folder = f"{artist}-{seed}"
            rows.setdefault(f"{artist}, the artist itself", []).append(_reached(artist, seed, folder))
            drawn = os.path.join(_RUNS.value, folder, "samples")
            sample(replace(SampleConfig(), model=os.path.join(_RUNS.value, folder), num=1000, output_dir=drawn))
            for share in _SHARES.value:
                extra = (f"--extra_dataset={drawn}", "--extra_labels", f"--extra_share={share}")
                reached = _reached("pgd_at", seed, f"{artist}-{share}-{seed}", *extra)
                rows.setdefault(f"pgd_at, share {share} drawn by {artist}", []).append(reached)
    columns = ("net", "seeds", "clean %", "PGD-20 %", "AutoAttack %")
    print(head(columns))
    for name, values in rows.items():
        print(row([name, len(values), *map(spread, zip(*values, strict=True))]))


def _reached(preset: str, seed: str, name: str, *more: str) -> list[float]:
    """Trains and attacks one net: percentages of test images, one for each of `_ATTACKS`."""
    keras.utils.clear_session()
    folder = os.path.join(_RUNS.value, name)
    train(parsed(TrainConfig, f"--preset=digits/{preset}", f"--seed={seed}", f"--model_dir={folder}", *more))
    found = evaluate(replace(EvaluateConfig(), model=folder, attacks=",".join(_ATTACKS), audit_images=0))
    return [100 * row.accuracy for row in found.results if row.attack in _ATTACKS]


if __name__ == "__main__":
    app.run(main)
