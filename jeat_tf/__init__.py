"""Joint energy adversarial training and its relatives in TensorFlow and Keras 3.

A classifier's logits are energies: E(x, y) = -f(x)[y], E(x) = -logsumexp f(x). One network classifies, resists
attack and generates images.
"""

import lazy_loader

from jeat_tf.core.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
