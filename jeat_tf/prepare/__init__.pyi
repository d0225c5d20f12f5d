from .run import prepare

__all__ = [
    "prepare",
]
