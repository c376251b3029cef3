"""JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.reading import texts

from neuronspec.errors import NeuronspecError


@pytest.mark.parametrize(
    "row",
    [
        {"translation": {"en": "one", "de": "eins", "fr": "un"}},
        {"en": "one", "de": "eins", "id": 7},
        {"source": "one", "target": "eins"},
    ],
)
@pytest.mark.parametrize("name", ["{lang}.jsonl", "{src}-{tgt}.jsonl"])
def test_json_lines_of_every_shape_are_read_either_way(tmp_path: Path, row: dict[str, Any], name: str) -> None:
    path = tmp_path / name.replace("{src}-{tgt}", "en-de").replace("{lang}", "de")
    path.write_text(json.dumps(row) + "\n")
    assert texts(tmp_path / name, "en", "de") == [("one", "eins")]
    assert texts(tmp_path / name, "de", "en") == [("eins", "one")]


def test_a_json_null_is_an_empty_text(tmp_path: Path) -> None:
    (tmp_path / "de.jsonl").write_text('{"en": "one", "de": null}\n{"en": null, "de": "zwei"}\n')
    assert texts(tmp_path / "{lang}.jsonl", "en", "de") == [("one", ""), ("", "zwei")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"en": "one", "de"', r"de\.jsonl:2 is not valid JSON"),
        ("[" * 100_000, r"de\.jsonl:2 is not valid JSON"),
        ('["one", "eins"]', r"de\.jsonl:2 is not a JSON object"),
        ('{"translation": "one"}', r"de\.jsonl:2 is not a JSON object"),
        (
            '{"en": "one", "fr": "un"}',
            r"de\.jsonl:2 has the fields en, fr; expected texts under 'en' and 'de'",
        ),
        ('{"en": "one", "de": 1}', r"de\.jsonl:2 has the fields en, de"),
        ("{}", r"de\.jsonl:2 has the fields none"),
    ],
)
def test_json_that_does_not_fit_is_refused_by_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "de.jsonl").write_text('{"en": "one", "de": "eins"}\n' + line + "\n")
    with pytest.raises(NeuronspecError, match=message):
        texts(tmp_path / "{lang}.jsonl", "en", "de")
