"""How attacks and updates changed the energy during training (JEAT Fig. 3 and 9 to 11)."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jeat_tf.figures.style import add_legend, draw_band, line_styles, panels
from jeat_tf.methods.energy_changes import EnergyRecord

_TITLES = (
    r"by the attack: $\Delta_x E(x, y)$",
    r"by the attack: $\Delta_x E(x)$",
    r"by the update: $\Delta_\theta E(x, y)$",
    r"by the update: $\Delta_\theta E(x)$",
)


class ChangesByEpoch(NamedTuple):
    """Changes of energy over an epoch's records and images; the four are in the order of `EnergyRecord`.

    Attributes:
      epoch: int64[T], those with a record.
      mean: float64[4, T].
      std: float64[4, T], over images and records: how widely they spread, not how sure the mean is.
    """

    epoch: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def changes_by_epoch(record: EnergyRecord) -> ChangesByEpoch:
    """Mean and standard deviation of each change of energy in each epoch.

    Raises:
      ValueError: nothing was recorded.
    """
    if not len(record.epoch):
        raise ValueError(
            "expected a record of at least one step, received none; was `every` more than the steps taken?"
        )
    epochs = np.unique(record.epoch)
    of_epoch = [[array[record.epoch == epoch].astype(np.float64) for epoch in epochs] for array in record[2:]]
    return ChangesByEpoch(
        epoch=epochs,
        mean=np.array([[a.mean() for a in row] for row in of_epoch]),
        std=np.array([[a.std() for a in row] for row in of_epoch]),
    )


def draw_energy_changes(runs: dict[str, ChangesByEpoch]) -> Figure:
    """Four panels over epochs: by the attack above, by the update below; E(x, y) left, E(x) right.

    Points are means, bands one standard deviation to each side. The paper's tags have the variance as their length,
    which is not in the unit of the axis.

    Args:
      runs: by name, of `changes_by_epoch`.
    """
    figure, axes = panels(2, 2, width=4.0, sharex=True, sharey="row")
    styles = line_styles(runs)
    for i, (ax, title) in enumerate(zip(axes.flat, _TITLES, strict=True)):
        ax.axhline(0, color="black", linewidth=0.8)
        for name, run in runs.items():
            mean, std = run.mean[i], run.std[i]
            draw_band(ax, run.epoch, mean, mean - std, mean + std, name, styles[name])
        ax.set_title(title)
        ax.margins(x=0.02)
    for ax in axes[:, 0]:
        ax.set_ylabel("change of energy")
    for ax in axes[1]:
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    add_legend(figure, axes[0, 0])
    return figure
