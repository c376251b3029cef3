"""Optional libraries: imported when they are needed, with advice on what to install if they are missing."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

from neuronspec.errors import NeuronspecError, first_line


def import_library(module: str, needed_for: str, extra: str = "", requirement: str = "") -> Any:
    """Import a library of an extra.

    Args:
        module: Name of the module to import, such as `ctranslate2.converters`.
        needed_for: Feature that needs it, as the beginning of a sentence: `"LoRA"`.
        extra: Extra of neuronspec that includes it; empty if it comes with neuronspec itself.
        requirement: Requirement for pip, if that differs from the module's name: `"py3langid>=0.4"`.

    Returns:
        The module.

    Raises:
        NeuronspecError: If it is not installed, or is installed but cannot be imported for another reason.

    Example:
        >>> import_library("json", "reading", requirement="json").loads("1")
        1
        >>> import_library("nosuchthing", "Tokenized BLEU", "moses")
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: Tokenized BLEU needs nosuchthing, which is not installed: pip install \
'neuronspec[moses]', or pip install nosuchthing
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # Either the library is missing, or something that it imports.
        library, lacking = module.partition(".")[0], (error.name or "").partition(".")[0]
        if lacking in ("", library):
            advice = _advise(library, needed_for, extra=extra, requirement=requirement)
            raise NeuronspecError(advice) from error

        raise NeuronspecError(
            f"{needed_for} needs {library}, which is installed, but {library} itself needs {lacking}, which is not: "
            f"pip install {lacking}"
        ) from error
    except Exception as error:  # a library that is broken may raise anything
        library = module.partition(".")[0]
        again = requirement or library
        raise NeuronspecError(
            f"{needed_for} needs {library}, which is installed but cannot be imported ({first_line(error)}): "
            f"pip install --force-reinstall '{again}'"
        ) from error


def find_library(module: str, needed_for: str, extra: str = "", requirement: str = "") -> ModuleSpec:
    """Find a library of an extra without importing it; arguments and errors are those of `import_library`."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # a module that is half imported has no specification
        found = None

    # A single file may be a script that hides the package of the same name.
    if found is not None and not found.submodule_search_locations:
        found = _find_package(module) or found
    if found is None:
        raise NeuronspecError(_advise(module, needed_for, extra=extra, requirement=requirement))
    return found


def _find_package(module: str) -> ModuleSpec | None:
    """Return where the package with this name is, even if a script of the same name comes first.

    Python puts the folder of a command, `bin`, first on its path, and some libraries install a script there that has
    their own name.
    """
    specs = (PathFinder.find_spec(module, [place]) for place in sys.path)
    return next((spec for spec in specs if spec is not None and spec.submodule_search_locations), None)


def _advise(library: str, needed_for: str, *, extra: str, requirement: str) -> str:
    """Return a sentence that says what to install."""
    quoted = f"'{requirement}'" if requirement else library
    ways = [f"pip install 'neuronspec[{extra}]'"] if extra else []
    advice = ", or ".join([*ways, f"pip install {quoted}"])
    return f"{needed_for} needs {library}, which is not installed: {advice}"
