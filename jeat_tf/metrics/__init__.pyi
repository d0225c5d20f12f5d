from .confidence import Calibration, calibration
from .feature_statistics import FeatureStatistics
from .features import FeatureNet, classifier, classifier_features, inception_2015, keras_inception, score_names
from .fisher import FisherScore, fisher_score
from .frechet import bias_note, frechet_distance, frechet_infinity, per_class_frechet
from .intervals import wilson_interval
from .ood import Detection, detection, ood_scores
from .protocol import Protocol
from .scores import (
    agreement,
    density_coverage,
    inception_score,
    kernel_distance,
    kernel_mmd,
    precision_recall,
)

__all__ = [
    "Calibration",
    "Detection",
    "FeatureNet",
    "FeatureStatistics",
    "FisherScore",
    "Protocol",
    "agreement",
    "bias_note",
    "calibration",
    "classifier",
    "classifier_features",
    "density_coverage",
    "detection",
    "fisher_score",
    "frechet_distance",
    "frechet_infinity",
    "inception_2015",
    "inception_score",
    "keras_inception",
    "kernel_distance",
    "kernel_mmd",
    "ood_scores",
    "per_class_frechet",
    "precision_recall",
    "score_names",
    "wilson_interval",
]
