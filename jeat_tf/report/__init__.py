"""Runs on disk become tables, and one page: what was measured, of what, how, and what was not."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
