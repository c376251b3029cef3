"""Write docs/configuration.md from the code: `python docs/generate.py`; a test checks that the page is up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from neuronspec.config.registered import find_mark, find_section
from neuronspec.config.schema import Config
from neuronspec.config.sections import Section
from neuronspec.methods import METHODS

PAGE = Path(__file__).with_name("configuration.md")
INTRODUCTION = """# Configuration

A run is described by one YAML file, such as `src/neuronspec/recipes/demo.yaml`. `neuronspec run FILE key=value ...`
overrides single keys: `neuronspec run demo train.updates=500 select.k=0.9`. Unknown keys are refused, and the
message suggests the most similar known key. The whole configuration is checked before any work begins. This page is
generated from the code.
"""


def describe(section: type[BaseModel], prefix: str = "", seen: dict[type[BaseModel], str] | None = None) -> list[str]:
    """Return the table of a section, followed by the sections inside it; each kind of section appears once."""
    seen = {} if seen is None else seen
    lines, inner = ["| key | default | meaning |", "|---|---|---|"], []
    for name, field in section.model_fields.items():
        nested = find_section(field)
        meaning = " ".join((field.description or "").split())
        if mark := find_mark(field):
            meaning += f" Names: {', '.join(f'`{name}`' for name in mark.list_names())}."
        if nested is not None:
            meaning = meaning or " ".join((nested.__doc__ or "").split())
            if nested in seen:
                meaning += f" Keys as in `{seen[nested]}`."
            else:
                seen[nested] = f"{prefix}{name}"
                inner.append((f"{prefix}{name}", nested))
        default = field.get_default(call_default_factory=True)
        lines.append(f"| `{prefix}{name}` | {show(default)} | {meaning.replace('|', chr(92) + '|')} |")
    for name, nested in inner:
        title = " ".join((nested.__doc__ or "").split())
        lines += ["", f"## {name}", "", title, "", *describe(nested, f"{name}.", seen)]
    return lines


def show(default: Any) -> str:
    """Return a default value as it is written in YAML."""
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, Section):
        return "see below"
    return f"`{json.dumps(default, default=str)}`"


def render() -> str:
    """Return the text of the page."""
    lines = [INTRODUCTION, *describe(Config)]
    for name, method in sorted(METHODS.items()):  # methods that import one another register in another order
        lines += ["", f"## methods.{name}", "", (method.__doc__ or "").splitlines()[0]]
        if method.Options.model_fields:
            lines += ["", *describe(method.Options, f"methods.{name}.")]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
