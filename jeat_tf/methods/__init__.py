"""Training methods as values: `jt.methods.JEAT(epsilon=8 / 255)`; updates such as `AWP`; and what they are made of."""

from typing import Any

import lazy_loader

_of_the_stub, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """A name of the stub, or a method whose file is in `recipes` without being listed there."""
    try:
        return _of_the_stub(name)
    except AttributeError:
        from jeat_tf.methods.recipes import methods

        found = {kind.__name__: kind for kind in methods().values()}
        if name not in found:
            raise
        return found[name]
