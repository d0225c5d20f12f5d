from .planning import plan
from .run import train

__all__ = [
    "plan",
    "train",
]
