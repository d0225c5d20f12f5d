"""The papers' figures: numbers (a NamedTuple), a drawing of them (a matplotlib Figure), both on disk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
