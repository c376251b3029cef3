"""The page of concepts names each promise with its attacks; all that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PROMISES = [f"R{number}" for number in range(1, 13)]
PAGE = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8").split("\n## Promises\n")[1]
ROWS = {cells[1].strip(): cells for cells in (line.split("|") for line in re.findall(r"^\| R\d+ .*$", PAGE, re.M))}
TESTS = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)


@cache
def list_tests(name: str) -> frozenset[str]:
    """Return the names of all functions of a file of tests."""
    tree = ast.parse((ROOT / "tests" / name).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_each_promise_is_made_and_attacked() -> None:
    assert re.findall(r"^- \*\*(R\d+)\*\* ", PAGE, re.M) == PROMISES
    assert [*ROWS] == PROMISES
    assert len(TESTS) >= 2 * len(PROMISES)


@pytest.mark.parametrize("promise", PROMISES)
def test_its_attacks_exist_and_bear_its_number(promise: str) -> None:
    _, _, attack, tests, _, _ = ROWS[promise]
    assert attack.strip()
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
    assert len(named) >= 2
    for file, test in named:
        assert test in list_tests(file), file
        assert test.startswith(f"test_{promise.lower()}_")


@pytest.mark.parametrize("page", ["docs/concepts.md", "CONTRIBUTING.md"])
def test_the_targets_of_make_exist(page: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    named = re.findall(r"`make ([a-z-]+)[^`]*`", (ROOT / page).read_text(encoding="utf-8"))
    assert named
    assert set(named) <= set(targets)


def test_the_promises_of_the_page_on_security_are_tested() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`tests/([\w/]+\.py)(?:::(test_\w+))?`", text)
    assert named
    for file, test in named:
        assert not test or test in list_tests(file), file
        assert (ROOT / "tests" / file).is_file()
