"""Samplers: chains, where they start, what they remember, and how stages are put together."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
