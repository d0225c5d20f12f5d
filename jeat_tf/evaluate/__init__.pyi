from .robustness import evaluate

__all__ = [
    "evaluate",
]
