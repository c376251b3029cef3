"""The translations that a run's page shows are those of its files, line by line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.command import run_command

from neuronspec.config.schema import Config
from neuronspec.data.test_sets import read_test_set
from neuronspec.data.texts import Texts
from neuronspec.evaluation.results import Results
from neuronspec.evaluation.writing import split_words
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.run_translations import count_training_words
from neuronspec.pipeline.scored_translations import read_translations
from neuronspec.pipeline.studies import load_study
from neuronspec.report.translations import list_systems


def test_the_file_next_to_the_page_holds_the_lines_of_all_files(finished: Config) -> None:
    layout = Layout(finished.out)
    results = Results.load(layout.scores)
    rows = [
        json.loads(line) for line in (layout.report / "translations.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    texts = Texts.load(layout.text)
    systems = [system for system in results.systems if system != "source"]
    expected = []
    for task in results.tasks:
        sources, references = read_test_set(texts, task, finished.directions(), finished.pivot)
        files = [read_translations(layout.translations(system) / f"{task}.txt") for system in systems]
        expected += list(zip(sources, references, *files, strict=True))
    found = [(row["source"], row["reference"], *(row["translations"][system] for system in systems)) for row in rows]
    assert found == expected

    # The page and the scores agree: the same broken sentences, and chrF++ where it was scored.
    for quality in results.qualities:
        own = [row for row in rows if row["direction"] == quality.task and quality.system in row["broken"]]
        for kind in ("empty", "copied", "repeated", "over_long"):
            count = sum(kind in row["broken"][quality.system] for row in own)
            assert not own or count == round((getattr(quality, kind) or 0) * quality.sentences)


def test_words_of_the_training_text_are_counted_by_language(finished: Config) -> None:
    layout = Layout(finished.out)
    words = count_training_words(finished, layout)
    assert words is not None
    counts = Counter[str]()
    for line in (layout.text / "train.en-de.tsv").read_text(encoding="utf-8").splitlines():
        counts.update(split_words(line.split("\t")[1]))
    assert words.count("de") == counts
    assert words.count("fr") is None


def test_a_run_is_compared_on_a_page(finished: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert run_command("compare", finished.out, "--html", page) == 0
    assert "Averages over directions" in capsys.readouterr().out
    own = (tmp_path / "page.translations.jsonl").read_text(encoding="utf-8")
    assert own == (Layout(finished.out).report / "translations.jsonl").read_text(encoding="utf-8")
    assert run_command("compare", finished.out, "--html", finished.out / "page.html") == 2
    assert "holds the results of a run" in capsys.readouterr().err


def test_a_run_without_its_text_has_no_translations_to_show(copied: Config) -> None:
    layout = Layout(copied.out)
    systems = [system for system in load_study(copied, layout).results.systems if system != "source"]
    assert list_systems(load_study(copied, layout)) == systems
    (layout.text / "statistics.json").unlink()
    assert list_systems(load_study(copied, layout)) == []
