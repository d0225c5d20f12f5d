"""`python -m jeat_tf.convert`: PyTorch checkpoints of published nets as Keras nets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
