"""`python -m jeat_tf.export`: a trained net for other programs, and its model card."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
