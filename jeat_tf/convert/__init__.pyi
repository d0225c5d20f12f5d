from .build import Converted, to_keras
from .layouts import LAYOUTS, Layout
from .run import convert
from .state import Check, State, parsed_state, read_state

__all__ = [
    "LAYOUTS",
    "Check",
    "Converted",
    "Layout",
    "State",
    "convert",
    "parsed_state",
    "read_state",
    "to_keras",
]
