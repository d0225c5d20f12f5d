from .feature_statistics import FeatureStatistics
from .features import FeatureNet, classifier, classifier_features, inception_2015, keras_inception, score_names
from .frechet import bias_note, frechet_distance, frechet_infinity, per_class_frechet
from .intervals import wilson_interval
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
    "FeatureNet",
    "FeatureStatistics",
    "Protocol",
    "agreement",
    "bias_note",
    "classifier",
    "classifier_features",
    "density_coverage",
    "frechet_distance",
    "frechet_infinity",
    "inception_2015",
    "inception_score",
    "keras_inception",
    "kernel_distance",
    "kernel_mmd",
    "per_class_frechet",
    "precision_recall",
    "score_names",
    "wilson_interval",
]
