"""What TensorBoard calls the logs of training, what each means, and the charts that it opens with."""

from collections.abc import Collection
from typing import NamedTuple

from jeat_tf.methods.logs import ADVERSARIAL


class Tag(NamedTuple):
    """A tag, whose part before the stroke is its group, and a sentence about it."""

    name: str
    description: str


_TAGS = {
    "loss": Tag("loss/training", "Mean over the epoch of what is minimised. With energies in it, it can be negative."),
    "val_loss": Tag("loss/validation", "Mean cross-entropy of clean images that are held out."),
    "cross_entropy": Tag("loss/cross_entropy", "The classifier's part of the loss."),
    "accuracy": Tag("accuracy/training", "Share of training images that are classified right."),
    f"{ADVERSARIAL}accuracy": Tag(
        "accuracy/adversarial", "Share of the adversarial images of training that are classified right."
    ),
    "val_accuracy": Tag("accuracy/validation", "Share of clean images, held out, that are classified right."),
    "val_robust_accuracy": Tag(
        "accuracy/validation_robust", "Share of images, held out, that are classified right under PGD."
    ),
    "gap": Tag("energy/gap", "E(x_pos) - E(x_neg). Healthy: stays near 0. In trouble: grows in one direction."),
    "energy_pos": Tag("energy/data", "Mean E(x) of the images whose energy is lowered."),
    "energy_neg": Tag("energy/negatives", "Mean E(x) of the chains' images, whose energy is raised."),
    "energy_squared": Tag("energy/squared", "Mean squares of both energies; `energy_l2` penalises them."),
    "energy_noisy": Tag("energy/noisy", "Mean E(x) of the noisy images that scores are matched on."),
    "auc": Tag("energy/auc", "How well energies tell data from negatives: 0.5 not at all, 1 always."),
    "saturation": Tag(
        "chain/saturation",
        "Share of the negatives' pixels at 0 or 1 in excess of the data's. 0: as data. 1: all. Alarm: above 0.6.",
    ),
    "gradient_norm": Tag("optimizer/gradient_norm", "Norm of the loss' gradient. In trouble: jumps a hundredfold."),
    "learning_rate": Tag("optimizer/learning_rate", "Of the optimizer, at the end of the epoch."),
}
GRADIENT = Tag("buffer/gradient", "Mean |dE/dx| over images of the replay buffer: what a chain's step moves by.")
AT_ENDS = Tag("buffer/at_ends", "Share of the buffer's pixels at or beyond 0 or 1. In trouble: rises towards 1.")
AGE = Tag("buffer/age", "Mean number of rounds since chains began. Levels off near 1 / restart_probability.")
AGES = Tag("buffer/ages", "Rounds since each chain began.")
X_ADV = Tag("images/adversarial", "Images as the method perturbs them.")
NEGATIVES = Tag("images/negatives", "One round of chains, not written back. Healthy: varied, like the data.")
BUFFER = Tag("images/buffer", "The first images of the replay buffer.")
RECOVERIES = Tag("guard/recoveries", "How often the guard has gone back to a good state.")
EVENT = Tag("guard/event", "What set off the guard, and what it changed.")


def tag_of(log: str, terms: Collection[str] = ()) -> Tag:
    """The tag of a log.

    Args:
      log: its name in `History`.
      terms: of the objective; other logs that have no tag of their own are metrics.
    """
    if log in _TAGS:
        return _TAGS[log]
    if log.startswith("delta_"):
        return Tag(f"energy_changes/{log}", "Mean change of an energy by the attack (x) or by a step (theta), eq. 15.")
    if log in terms:
        return Tag(f"loss/{log}", "A term of the loss, its mean over the epoch.")
    return Tag(f"metrics/{log}", "A metric; val_: of images held out; adv_: of adversarial images.")


def charts(terms: Collection[str], *, buffer: bool) -> dict[str, list[str]]:
    """Tags of each chart that one watches, by its title.

    Args:
      terms: of the objective.
      buffer: chains live in a replay buffer.
    """
    shown = {
        "Gap of energies: stays near 0": ["gap"],
        "Energies of data and of negatives": ["energy_pos", "energy_neg"],
        "Saturation of chains: below 0.6": ["saturation"],
    }
    found = {title: [_TAGS[log].name for log in logs] for title, logs in shown.items() if set(logs) <= set(terms)}
    if buffer:
        found["Age of chains: levels off"] = [AGE.name]
    found["Norm of the gradient"] = [_TAGS["gradient_norm"].name]
    found["Accuracy: clean, adversarial, under PGD"] = [
        _TAGS[log].name for log in ("accuracy", f"{ADVERSARIAL}accuracy", "val_accuracy", "val_robust_accuracy")
    ]
    found["Loss"] = [_TAGS["loss"].name, _TAGS["cross_entropy"].name]
    return found
