from .container import Container as Container
from .headers import Header as Header
from .headers import LayerNames as LayerNames
from .headers import Names as Names
from .headers import Signature as Signature
from .headers import UniqueNames as UniqueNames
from .headers import Widths as Widths
from .hub import fetch as fetch
from .hub import upload as upload
from .json_lines import LINE as LINE
from .json_lines import read_json_lines as read_json_lines
from .json_lines import write_json_lines as write_json_lines
from .tensor_files import read_tensors as read_tensors
from .tensor_files import write_tensors as write_tensors

__all__ = [
    "LINE",
    "Container",
    "Header",
    "LayerNames",
    "Names",
    "Signature",
    "UniqueNames",
    "Widths",
    "fetch",
    "read_json_lines",
    "read_tensors",
    "upload",
    "write_json_lines",
    "write_tensors",
]
