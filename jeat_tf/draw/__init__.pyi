from .run import draw

__all__ = [
    "draw",
]
