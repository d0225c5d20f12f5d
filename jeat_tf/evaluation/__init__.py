"""Measures: functions of nets and arrays, without flags."""

from jeat_tf.evaluation.accuracy import wilson_interval
from jeat_tf.evaluation.refinement import refine
from jeat_tf.evaluation.sample_quality import agreement, classifier_features, frechet_distance

__all__ = [
    "agreement",
    "classifier_features",
    "frechet_distance",
    "refine",
    "wilson_interval",
]
