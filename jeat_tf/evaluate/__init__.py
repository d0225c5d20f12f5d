"""`python -m jeat_tf.evaluate`: robustness, calibration, OOD detection and samples of a net."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
