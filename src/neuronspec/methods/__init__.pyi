from .catalog import METHODS as METHODS
from .catalog import find_method as find_method
from .catalog import make_method as make_method
from .catalog import method_options as method_options
from .lora.export import export_peft as export_peft
from .saved import attach_saved as attach_saved

__all__ = [
    "METHODS",
    "attach_saved",
    "export_peft",
    "find_method",
    "make_method",
    "method_options",
]
