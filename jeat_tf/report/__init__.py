"""Turns runs on disk into tables and one page: what was measured, of which net, how, and what was not measured."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
