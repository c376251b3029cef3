"""Help and completion name what is registered, also what somebody registered elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tests.command import run_command

from neuronspec.cli.choices import (
    CHOICES,
    TERMINAL,
    list_corpus_formats,
    list_corrections,
    list_engines,
    list_metrics,
    list_table_formats,
)
from neuronspec.comparison.tables import TABLE_FORMATS
from neuronspec.data.corpora import CORPUS_FORMATS
from neuronspec.evaluation.metrics import METRICS
from neuronspec.statistics.corrections import CORRECTIONS
from neuronspec.translation.engines import ENGINES

CASES = [
    ("compare", "correction", list_corrections, list(CORRECTIONS)),
    ("compare", "format", list_table_formats, [TERMINAL, *TABLE_FORMATS]),
    ("score", "metric", list_metrics, list(METRICS)),
    ("record", "format", list_corpus_formats, list(CORPUS_FORMATS)),
    ("translate", "engine", list_engines, list(ENGINES)),
]


@pytest.mark.parametrize(("verb", "option", "list_names", "registered"), CASES)
def test_help_and_completion_name_what_is_registered(
    verb: str,
    option: str,
    list_names: Callable[[], list[str]],
    registered: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list_names() == list(registered)
    monkeypatch.setenv("COLUMNS", "300")
    assert run_command(verb, "--help") == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert ", ".join(registered) in shown
    assert not [placeholder for placeholder in CHOICES if placeholder in shown]

    words = {"_NEURONSPEC_COMPLETE": "complete_bash", "COMP_WORDS": f"neuronspec {verb} --{option} ", "COMP_CWORD": "3"}
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    assert run_command() == 0
    assert capsys.readouterr().out.split() == list(registered)
