"""The pages about the service say what the code does."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.serving.engines import ReversingEngine
from tests.serving.running import answering

from neuronspec.cli.main import app
from neuronspec.serving.app import make_app
from neuronspec.serving.limits import ServingLimits

DOCS = Path(__file__).parents[2] / "docs"


def read_page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_table_of_limits_has_every_limit_with_its_default_and_its_option() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d.,]+) [^|]*\|([^|]*)\|", read_page("production.md"), re.M)
    limits = {name: (float(default.replace(",", "")), option) for name, default, option in rows}
    assert {name: default for name, (default, _) in limits.items()} == dataclasses.asdict(ServingLimits())

    group: Any = typer.main.get_command(app)
    known = {option for parameter in group.commands["serve"].params for option in parameter.opts}
    named = {option for _, text in limits.values() for option in re.findall(r"`(--[\w-]+)`", text)}
    assert named
    assert named <= known


def test_the_program_for_clients_of_libretranslate_runs() -> None:
    pytest.importorskip("libretranslatepy")
    (program,) = re.findall(r"^```python\n(.*?)^```", read_page("serving.md"), re.S | re.M)
    printed = io.StringIO()
    with answering(make_app(ReversingEngine())) as address, contextlib.redirect_stdout(printed):
        exec(compile(program.replace("http://127.0.0.1:5000", address), "serving.md", "exec"), {})
    assert printed.getvalue().splitlines() == ["en-de/1/5: .ecived eht fo eman ehT", "['en', 'de', 'fr']"]


def test_the_alarms_name_metrics_that_exist() -> None:
    names = set(re.findall(r"neuronspec_\w+", read_page("production.md")))
    application = make_app(ReversingEngine())
    written = application.state.service.metrics.write().decode()
    kinds = set(re.findall(r"^# TYPE (\w+)", written, re.M))
    assert names
    assert {re.sub(r"_(total|bucket)$", "", name) for name in names} <= {re.sub("_total$", "", kind) for kind in kinds}
