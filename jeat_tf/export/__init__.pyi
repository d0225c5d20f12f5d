from .run import Exported, export
from .signatures import Signatures

__all__ = ["Exported", "Signatures", "export"]
