"""Functions that a reader can follow: how many paths go through them, by McCabe's measure as radon counts it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from radon.complexity import cc_visit
from radon.visitors import Class, Function

SOURCE = Path(__file__).parents[1] / "src" / "neuronspec"
HIGH, HIGHEST = 10, 20
SHARE_OF_HIGH = 0.04


def list_functions(blocks: Iterable[Class | Function]) -> Iterator[Function]:
    """Yield the functions of a module, with methods and the functions inside them."""
    for block in blocks:
        if isinstance(block, Class):
            yield from list_functions(block.methods)
            yield from list_functions(block.inner_classes)
        else:
            yield block
            yield from list_functions(block.closures)


@pytest.fixture(scope="module")
def complexities() -> dict[str, int]:
    """Return the complexity of every function of the package, by where it is."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for function in list_functions(cc_visit(path.read_text(encoding="utf-8"))):
            place = f"{path.relative_to(SOURCE).as_posix()}:{function.lineno} {function.name}"
            found[place] = function.complexity
    return found


def test_few_functions_are_complex(complexities: dict[str, int]) -> None:
    high = [f"{value} {place}" for place, value in complexities.items() if value > HIGH]
    assert len(high) < SHARE_OF_HIGH * len(complexities), "\n".join(sorted(high, reverse=True))


def test_no_function_is_very_complex(complexities: dict[str, int]) -> None:
    assert [f"{value} {place}" for place, value in complexities.items() if value > HIGHEST] == []


def test_complexity_counts_branches_of_methods_and_inner_functions() -> None:
    module = (
        "class A:\n"
        "    def method(self, x):\n"
        "        def inner(y):\n"
        "            return 1 if y and x else 2\n"
        "        return inner(x) if x else None\n"
    )
    assert {function.name: function.complexity for function in list_functions(cc_visit(module))} == {
        "method": 2,
        "inner": 3,
    }
