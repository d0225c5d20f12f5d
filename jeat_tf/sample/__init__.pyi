from .run import sample

__all__ = [
    "sample",
]
