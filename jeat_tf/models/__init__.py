"""Nets: functional Keras models, images in [0, 1] -> logits, normalisation inside."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
