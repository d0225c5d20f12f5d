from .chains import GradientNorms, draw_gradient_norms, gradient_norms, paired_samples
from .class_grids import ClassGrid, class_grid, draw_class_grid
from .curves import draw_distance_curves, draw_robustness_curves, draw_training_curves
from .energy_changes import ChangesByEpoch, changes_by_epoch, draw_energy_changes
from .files import save_figure
from .heat_maps import draw_heat_maps
from .histograms import draw_score_histograms
from .landscape import Landscape, draw_energy_contours, energy_contours
from .neighbour_rows import NeighbourGrid, draw_neighbours, neighbours
from .reliability import ReliabilityBins, draw_reliability

__all__ = [
    "neighbours",
    "ChangesByEpoch",
    "ClassGrid",
    "GradientNorms",
    "Landscape",
    "NeighbourGrid",
    "ReliabilityBins",
    "changes_by_epoch",
    "class_grid",
    "draw_class_grid",
    "draw_distance_curves",
    "draw_energy_changes",
    "draw_energy_contours",
    "draw_gradient_norms",
    "draw_heat_maps",
    "draw_neighbours",
    "draw_reliability",
    "draw_robustness_curves",
    "draw_score_histograms",
    "draw_training_curves",
    "energy_contours",
    "gradient_norms",
    "paired_samples",
    "save_figure",
]
