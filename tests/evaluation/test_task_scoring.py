"""Tasks that workers score have the results of this process; what only one process can score stays in it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from neuronspec import extensions
from neuronspec.evaluation import task_scoring
from neuronspec.evaluation.grid_scoring import find_grid, score_grid
from neuronspec.evaluation.identifiers import IDENTIFIERS
from neuronspec.evaluation.metric import Metric, mean_score
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.output_scoring import ScoringOptions
from neuronspec.evaluation.results import Results
from neuronspec.evaluation.task_scoring import ScoreSettings
from neuronspec.executors import use_workers
from neuronspec.extensions import import_extension, list_extensions

GERMAN = "Die alte Brücke ist seit heute Morgen gesperrt, weil der Fluss sehr viel Wasser führt."
ENGLISH = "The old bridge is closed since this morning, because the river carries a lot of water."

# A module of a user: workers must import it, too.
MODULE = """
from neuronspec.evaluation import IDENTIFIERS, Identifier

IDENTIFIERS.register("shortest")(
    Identifier(load=lambda: (lambda text: "de" if "ü" in text else "en", ("de", "en")), version="1")
)
"""


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current directory that registers the identifier `shortest`; afterwards it is gone."""
    (tmp_path / "shortest_text.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extensions, "_imported", [])
    monkeypatch.setattr(IDENTIFIERS, "_entries", dict(IDENTIFIERS._entries))
    monkeypatch.delitem(sys.modules, "shortest_text", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a folder of compiled modules would count as a system
    return "shortest_text"


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScoringOptions:
    """Translations of two systems in both directions."""
    for system, lines in {"base": [GERMAN, ENGLISH], "ours": [GERMAN, GERMAN]}.items():
        (tmp_path / system).mkdir()
        for task in ("de-en", "en-de"):
            (tmp_path / system / task).write_text("\n".join(lines), encoding="utf-8")
    for language, text in {"de": GERMAN, "en": ENGLISH}.items():
        (tmp_path / f"test.{language}").write_text(f"{text}\n{text}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return ScoringOptions(
        references=Path("test.{tgt}"), sources=Path("test.{src}"), metrics=["bleu", "ter"], identifier="shortest"
    )


def run(options: ScoringOptions, workers: int) -> Results:
    with use_workers(workers):
        return score_grid(find_grid(Path("{system}/{task}"), options.references), options, pivot="en")


def test_workers_give_what_this_process_gives(
    extension: str, grid: ScoringOptions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import_extension(extension)
    here = run(grid, 1)
    assert [one.off_target for one in here.qualities] == [0.5, 0.5, 1.0, 0.0]

    # With several workers each text counts as large. Nothing is scored in this process.
    monkeypatch.setattr(task_scoring, "BYTES_PER_WORKER", 1)
    monkeypatch.delattr(task_scoring, "score_task")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    there = run(grid, 2)
    assert (there.scores, there.qualities, there.outputs) == (here.scores, here.qualities, here.outputs)
    for key, counted in here.counted.items():
        assert isinstance(counted, dict)
        for metric, rows in counted.items():
            np.testing.assert_array_equal(there.statistics(*(key[0], metric, key[1])), rows)


def test_large_models_and_what_a_script_registers_stay_in_one_process(
    extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rated(Metric):
        pass

    monkeypatch.setattr(METRICS, "_entries", METRICS._entries | {"rated": Rated("rated", True, mean_score)})
    assert ScoreSettings(metrics=("bleu", "chrf", "ter", "spbleu", "tokenized_bleu"), identifier=None).divisible
    assert not ScoreSettings(metrics=("bleu", "comet")).divisible
    assert not ScoreSettings(metrics=("bleu", "rated")).divisible
    assert not ScoreSettings(metrics=(METRICS["bleu"],)).divisible

    # An identifier that a script has registered is unknown to workers, unlike one of a module that they import.
    assert list_extensions() == ()
    assert not ScoreSettings(metrics=("bleu",), identifier="shortest").divisible
    import_extension(extension)
    assert ScoreSettings(metrics=("bleu",), identifier="shortest").divisible
