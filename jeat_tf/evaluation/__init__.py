"""Measures: functions of nets and arrays, without flags."""

from jeat_tf.evaluation.accuracy import wilson_interval
from jeat_tf.evaluation.features import (
    FeatureNet,
    classifier,
    classifier_features,
    inception_2015,
    keras_inception,
    score_names,
)
from jeat_tf.evaluation.protocol import Protocol
from jeat_tf.evaluation.refinement import refine
from jeat_tf.evaluation.scores import (
    agreement,
    bias_note,
    density_coverage,
    frechet_distance,
    frechet_infinity,
    inception_score,
    kernel_distance,
    kernel_mmd,
    per_class_frechet,
    precision_recall,
)
from jeat_tf.evaluation.statistics import FeatureStatistics

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
    "refine",
    "score_names",
    "wilson_interval",
]
