from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import with_config

from neuronspec.artifacts.json_lines import LINE, read_json_lines, write_json_lines
from neuronspec.errors import NeuronspecError


@with_config(LINE)
@dataclass(frozen=True, kw_only=True)
class Line:
    name: str
    score: float
    interval: tuple[float, float] | None = None


def test_rows_come_back(tmp_path: Path) -> None:
    rows = [Line(name="å", score=1e-7), Line(name="", score=-0.0, interval=(0.1, 1 / 3))]
    path = tmp_path / "lines.jsonl"
    write_json_lines(path, rows)
    assert path.read_text(encoding="utf-8").splitlines()[0] == '{"name": "å", "score": 1e-07, "interval": null}'
    assert read_json_lines(path, Line) == rows


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "Invalid JSON"),
        ("[1]", ""),
        ('{"name": "a"}', "'score' is missing"),
        ('{"name": "a", "score": "1"}', "score is '1'"),
        ('{"name": "a", "score": NaN}', "score is nan"),
        ('{"name": "a", "score": 1e999}', "score is inf"),
        ('{"name": "a", "score": true}', "score is True"),
        ('{"name": 1, "score": 1}', "name is 1"),
        ('{"name": "a", "score": 1, "interval": [1]}', "interval"),
        ('{"name": "a", "score": 1, "odd\\u001b": 1}', "'odd.*' is unknown to .*; if a newer version wrote it, pip"),
        ("[" * 100_000, ""),
    ],
)
def test_a_line_that_is_no_row_is_refused_with_its_number(line: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"name": "a", "score": 1.0}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(NeuronspecError, match=rf"lines\.jsonl:2 is damaged: .*{problem}") as refused:
        read_json_lines(path, Line)
    assert str(refused.value).isprintable()
