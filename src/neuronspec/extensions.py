"""Modules of users that register something: imported by name, here and in every worker."""

from __future__ import annotations

import importlib
import sys

from neuronspec.errors import NeuronspecError

_imported: list[str] = []


def import_extension(name: str) -> None:
    """Import a module that registers something: one that is installed, or a file in the current directory.

    Workers import it, too, before their first task (see `neuronspec.executors`).

    Args:
        name: Name of the module.

    Raises:
        NeuronspecError: If there is no such module.
    """
    if name in _imported and name in sys.modules:
        return

    # Installed commands lack the current directory on their path, unlike `python -m`.
    sys.path.insert(0, "")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Something that the module itself imports may be missing: that is another error.
        if error.name != name.partition(".")[0]:
            raise
        raise NeuronspecError(
            f"--import: there is no module {name}; give the name of an installed module, or of a file here without .py"
        ) from error
    finally:
        sys.path.remove("")
    if name not in _imported:
        _imported.append(name)


def list_extensions() -> tuple[str, ...]:
    """Return the names of the modules that were imported with `import_extension`, in order."""
    return tuple(_imported)
