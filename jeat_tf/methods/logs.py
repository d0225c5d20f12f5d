"""Names of what a training step logs."""

from collections.abc import Collection, Mapping
from typing import Any

WATCHED = ("gap", "gradient_norm", "saturation", "accuracy")
"""Each step's own values, for a guard: in the logs as `latest_gap`, ..., and `latest_accuracy` or its adversarial."""

ADVERSARIAL = "adv_"
"""Before the name of a metric of adversarial images, which would look broken beside that of clean ones."""


def with_prefix(results: Mapping[str, Any], prefix: str, *, but: Collection[str]) -> dict[str, Any]:
    """The results with a prefix before each name, except names in `but`, which are no metrics of classified images."""
    return {name if name in but else prefix + name: value for name, value in results.items()}


def latest(terms: Mapping[str, Any], accuracy: Any, prefix: str) -> dict[str, Any]:
    """This step's values of what a guard watches, of a step's terms and its accuracy."""
    values = dict(terms) | {"accuracy": accuracy}
    named = {name: prefix + name if name == "accuracy" else name for name in WATCHED}
    return {f"latest_{named[name]}": values[name] for name in WATCHED if name in values}
