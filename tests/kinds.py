"""The kinds of tests that `make test-fast` leaves out, as marks that come from the tests themselves.

`process`: starts a process, a browser or a server, or runs a whole configuration. This comes from the code: from what a
test, its fixtures, and the functions of the tests that they call refer to. Where marked tests are left out, one that
starts a process all the same fails and says so.
`architectures`: a case for another architecture than the typical ones.

Nobody keeps a list of tests.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

MODULES = ("multiprocessing", "subprocess", "tests.browser", "tests.processes", "uvicorn")
"""Modules whose functions start a process or a server."""
CALLS = ("fork", "posix_spawn", "exec", "execute_all")
"""Functions that do, and those with which pages and notebooks of the documentation are run."""
FUNCTIONS = {
    ("docs.builder.gather", "gather"),
    ("neuronspec.pipeline.plan", "execute_stages"),
    ("neuronspec.serving.server", "serve"),
}
"""Functions of other modules that do, or that run whole configurations."""
EVENTS = ("os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen")
"""What Python tells its auditors when a process starts."""
LEFT_OUT = "not process"
"""How an expression of marks leaves these tests out."""
TYPICAL = ("m2m_100", "t5", "llama")
"""Architectures that stand for all: an encoder-decoder, one with relative positions, and a language model."""

_running: pytest.Item | None = None


def mark_processes(items: Sequence[pytest.Item]) -> None:
    """Give the mark `process` to the tests that start processes or whole runs."""
    known: dict[types.CodeType, bool] = {}
    for item in items:
        if any(_starts(function, known) for function in _find_functions(item)):
            item.add_marker(pytest.mark.process)


def mark_architectures(items: Sequence[pytest.Item], architectures: Collection[str]) -> None:
    """Give the mark `architectures` to the cases for architectures that are not typical."""
    others = {*architectures} - {*TYPICAL}
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if any(isinstance(value, str) and value in others for value in values):
            item.add_marker(pytest.mark.architectures)


@contextmanager
def watch_processes(item: pytest.Item) -> Iterator[None]:
    """Refuse processes while a test runs, where tests that start one are left out."""
    global _running
    _running = item if LEFT_OUT in item.config.option.markexpr else None
    try:
        yield
    finally:
        _running = None


def _refuse(event: str, _: tuple[Any, ...]) -> None:
    if _running is not None and event in EVENTS:
        raise AssertionError(f"{_running.nodeid} starts a process: give it @pytest.mark.process")


sys.addaudithook(_refuse)


def _find_functions(item: pytest.Item) -> Iterator[types.FunctionType]:
    """Yield the function of a test and those of all fixtures that it asks for."""
    if isinstance(item, pytest.Function):
        yield _unwrap(item.function)
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            yield from (_unwrap(definition.func) for definition in definitions)


def _unwrap(function: Any) -> Any:
    """Return the function that hypothesis, contextlib and others have wrapped."""
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    return inner


def _starts(function: Any, known: dict[types.CodeType, bool]) -> bool:
    """Return whether a function of the tests refers to something that starts a process, directly or through others."""
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    if code not in known:
        known[code] = False  # a function that calls itself adds nothing
        known[code] = any(_is_start(name, function.__globals__, known) for name in _names(code))
    return known[code]


def _names(code: types.CodeType) -> set[str]:
    """Return all names that a function and the functions within it refer to."""
    names = {*code.co_names}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _is_start(name: str, namespace: dict[str, Any], known: dict[types.CodeType, bool]) -> bool:
    value = namespace.get(name)
    if name in (*MODULES, *CALLS) or getattr(value, "__name__", None) in MODULES:
        return True

    module, own_name = getattr(value, "__module__", None), getattr(value, "__name__", name)
    if module in MODULES or (module, own_name) in FUNCTIONS:
        return True
    return module is not None and module.startswith("tests.") and _starts(_unwrap(value), known)
