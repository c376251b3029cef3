"""The API reference: a page for each room's face, in which every public name is described once."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "neuronspec"


@dataclass(frozen=True)
class PublicName:
    """A name that users import.

    Attributes:
        name: The name.
        module: Module that defines it, `neuronspec.neurons.masks`.
    """

    name: str
    module: str

    @property
    def definition(self) -> str:
        """The path of its definition, which the reference uses."""
        return f"{self.module}.{self.name}"


@cache
def list_faces() -> list[str]:
    """Return the rooms that have a face, in alphabetical order."""
    return sorted(path.parent.name for path in SOURCE.glob("*/__init__.pyi"))


@cache
def read_face(room: str = "") -> tuple[PublicName, ...]:
    """Return the names of a room's face, or of the package, in the order of `__all__`."""
    package = ".".join(["neuronspec", *([room] if room else [])])
    tree = ast.parse((SOURCE / room / "__init__.pyi").read_text(encoding="utf-8"))

    modules: dict[str, str] = {}
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            modules |= {alias.name: f"{package}.{node.module}" for alias in node.names}
        elif isinstance(node, ast.Assign):
            names = ast.literal_eval(node.value)
    return tuple(PublicName(name, modules[name]) for name in names)


@cache
def find_pages() -> dict[str, list[PublicName]]:
    """Return the names that each page describes: a room describes its own, the package those of no room's face."""
    pages: dict[str, list[PublicName]] = {room: [] for room in [*list_faces(), ""]}
    described: set[str] = set()
    for room, names in pages.items():
        for public in read_face(room):
            if public.definition not in described:
                names.append(public)
                described.add(public.definition)
    return pages


@cache
def find_names() -> dict[str, str]:
    """Return where each public name is described, by its spellings: `ns.run`, `neuronspec.neurons.NeuronMasks`."""
    places = {
        f"neuronspec.{room}.{public.name}": public.definition for room in list_faces() for public in read_face(room)
    }
    for public in read_face():
        places[f"ns.{public.name}"] = places[f"neuronspec.{public.name}"] = public.definition
    return places


def describe(public: PublicName) -> str:
    """Return the block that the description of a name is put into, under the name that users import."""
    return f"::: {public.definition}\n    options:\n      heading: {public.name}\n      toc_label: {public.name}"


def read_purpose(room: str) -> str:
    """Return the first line of a room's docstring."""
    docstring = ast.get_docstring(ast.parse((SOURCE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    return docstring.splitlines()[0]


def render_face(room: str) -> str:
    """Return the page of a room."""
    imported = f"```python\nfrom neuronspec.{room} import ...\n```"
    blocks = [describe(public) for public in find_pages()[room]]
    return "\n\n".join([f"# neuronspec.{room}", read_purpose(room), imported, *blocks]) + "\n"


def render_root() -> str:
    """Return the page of the package: its names, and the rooms."""
    own = find_pages()[""]
    names = [f"| [`ns.{public.name}`][{public.definition}] |" for public in read_face() if public not in own]
    rooms = [f"| [`neuronspec.{room}`]({room}.md) | {read_purpose(room)} |" for room in list_faces()]
    return "\n".join(
        [
            "# neuronspec",
            "",
            "```python",
            "import neuronspec as ns",
            "```",
            "",
            "| the most used names | |",
            "|---|---|",
            *names,
            "",
            "| rooms | |",
            "|---|---|",
            *rooms,
            "",
            *(f"{describe(public)}\n" for public in own),
        ]
    )
