"""Loading executes nothing (promise R10), and rooms import only rooms that come before them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "neuronspec"
FILES = sorted(SOURCE.rglob("*.py"))
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "torch.load", "np.load", "numpy.load", "yaml.unsafe_load"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "joblib.load", "shelve.open"),
}
GROUND = (
    "version",
    "errors",
    "terminal",
    "names",
    "layer_names",
    "reading_limits",
    "libraries",
    "name_patterns",
    "text_patterns",
    "placeholders",
    "registry",
    "durability",
    "files",
    "lock_owner",
    "lock_files",
    "directory_lock",
    "format_versions",
    "languages",
    "processes",
    "interruption",
    "extensions",
    "executors",
    "progress",
)
ROOMS = (
    *(
        "config",
        "statistics",
        "artifacts",
        "data",
        "models",
        "neurons",
        "specialization",
        "training",
        "methods",
        "translation",
    ),
    *(
        "evaluation",
        "comparison",
        "analysis",
        "figures",
        "report",
        "exports",
        "serving",
        "proposal",
        "checking",
        "pipeline",
        "cli",
    ),
)


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("neuronspec."):
            yield str(node.module).split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_r10_nothing_is_unpickled_or_evaluated(path: Path) -> None:
    for name, call in calls(path):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        guarded = path.name == "torch_archives.py" and name == "torch.load" and keywords.get("weights_only") == "True"
        assert guarded or name not in FORBIDDEN, f"{path}:{call.lineno}"
        for keyword in call.keywords:
            trusted = keyword.arg in ("trust_remote_code", "allow_pickle") and ast.unparse(keyword.value) != "False"
            assert not trusted, f"{path}:{call.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py").replace("__main__", "cli")
    allowed = (
        {"errors", "version", "__init__"}
        if room in GROUND
        else {*GROUND, *ROOMS[: ROOMS.index(room) + 1]}
        if room in ROOMS
        else set()
    )
    if room in GROUND:
        allowed |= set(GROUND[: GROUND.index(room) + 1])
    if room != "__init__":
        assert set(imports(path)) <= allowed
