from .run import plan, train

__all__ = [
    "plan",
    "train",
]
