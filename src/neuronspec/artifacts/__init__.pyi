from .container import Container as Container
from .headers import Header as Header
from .headers import LayerNames as LayerNames
from .headers import Names as Names
from .headers import Signature as Signature
from .headers import UniqueNames as UniqueNames
from .headers import Widths as Widths
from .hub import fetch as fetch
from .hub import upload as upload
from .tensor_files import read_tensors as read_tensors
from .tensor_files import write_tensors as write_tensors

__all__ = [
    "Container",
    "Header",
    "LayerNames",
    "Names",
    "Signature",
    "UniqueNames",
    "Widths",
    "fetch",
    "read_tensors",
    "upload",
    "write_tensors",
]
