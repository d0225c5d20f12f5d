"""The papers' figures: numbers (a NamedTuple), a drawing of them (a matplotlib Figure), both on disk."""

from jeat_tf.figures.chains import GradientNorms, draw_gradient_norms, gradient_norms, paired_samples
from jeat_tf.figures.class_grids import ClassGrid, class_grid, draw_class_grid
from jeat_tf.figures.curves import draw_robustness_curves, draw_training_curves
from jeat_tf.figures.energy_changes import ChangesByEpoch, changes_by_epoch, draw_energy_changes
from jeat_tf.figures.files import save_figure
from jeat_tf.figures.histograms import draw_score_histograms
from jeat_tf.figures.landscape import Landscape, draw_energy_contours, energy_contours
from jeat_tf.figures.neighbours import NeighbourGrid, draw_neighbours, neighbours
from jeat_tf.figures.reliability import ReliabilityBins, draw_reliability

__all__ = [
    "ChangesByEpoch",
    "ClassGrid",
    "GradientNorms",
    "Landscape",
    "NeighbourGrid",
    "ReliabilityBins",
    "changes_by_epoch",
    "class_grid",
    "draw_class_grid",
    "draw_energy_changes",
    "draw_energy_contours",
    "draw_gradient_norms",
    "draw_neighbours",
    "draw_reliability",
    "draw_robustness_curves",
    "draw_score_histograms",
    "draw_training_curves",
    "energy_contours",
    "gradient_norms",
    "neighbours",
    "paired_samples",
    "save_figure",
]
