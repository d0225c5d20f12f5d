"""The settings of every verb: frozen dataclasses, the one typed truth.

Command-line flags are generated from the fields (`cli.py`), every run writes its resolved settings as JSON,
and `build.py` turns them into objects. Inside this package each module is imported by itself, so that the code of a
pipeline's step is that of its own settings alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
