"""Attacks.

In training: pure graph functions (loss_fn, x, *, seed, ...) -> x_adv and the losses they raise (`pgd`, `surrogates`).
In evaluation: searches (net, x, labels, *, seed, ...) -> Found, which drop an image once it is broken;
`autoattack` is a list of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
