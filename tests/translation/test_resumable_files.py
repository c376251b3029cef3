"""Translating files window by window: an interrupted translation is resumed, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.translation import resumable_files
from neuronspec.translation.resumable_files import translate_file

SENTENCES = [f"sentence {number}" for number in range(10)]
TASKS = ["en-de", "de-en"] * 5
EXPECTED = [f"{task}: {sentence}" for task, sentence in zip(TASKS, SENTENCES, strict=True)]


class Translator:
    """Says the task and the sentence, and stops at a given sentence."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.seen: list[str] = []
        self.stop_at = stop_at

    def __call__(self, sentences: Sequence[str], tasks: Sequence[str]) -> list[str]:
        if self.stop_at is not None and len(self.seen) >= self.stop_at:
            raise KeyboardInterrupt
        self.seen += sentences
        return [f"{task}: {sentence}" for task, sentence in zip(tasks, sentences, strict=True)]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable_files, "WINDOW", 3)


def partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def test_writes_a_line_each_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.txt"
    translate_file(Translator(), SENTENCES, TASKS, path, {})
    assert path.read_text().splitlines() == EXPECTED
    assert not partial(path).exists()


def test_resumes_with_the_next_window(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    advanced: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        translate_file(Translator(stop_at=6), SENTENCES, TASKS, path, {"beams": 5})
    assert not path.exists()
    again = Translator()
    translate_file(again, SENTENCES, TASKS, path, {"beams": 5}, advanced.append)
    assert again.seen == SENTENCES[6:]
    assert advanced == [6]
    assert path.read_text().splitlines() == EXPECTED


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_not_written_whole_is_translated_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "out.txt"
    with pytest.raises(KeyboardInterrupt):
        translate_file(Translator(stop_at=6), SENTENCES, TASKS, path, {})
    partial(path).write_bytes(partial(path).read_bytes()[:-cut])
    translate_file(Translator(), SENTENCES, TASKS, path, {})
    assert path.read_text().splitlines() == EXPECTED


@pytest.mark.parametrize("change", ["settings", "sentences", "tasks"])
def test_what_was_made_from_something_else_is_not_resumed(tmp_path: Path, change: str) -> None:
    path = tmp_path / "out.txt"
    with pytest.raises(KeyboardInterrupt):
        translate_file(Translator(stop_at=3), SENTENCES, TASKS, path, {"beams": 5})
    sentences = ["other", *SENTENCES[1:]] if change == "sentences" else SENTENCES
    tasks = TASKS[::-1] if change == "tasks" else TASKS
    again = Translator()
    translate_file(again, sentences, tasks, path, {"beams": 1 if change == "settings" else 5})
    assert again.seen == sentences
    assert path.read_text().splitlines() == [f"{t}: {s}" for t, s in zip(tasks, sentences, strict=True)]


def test_line_breaks_within_a_translation_do_not_make_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    translate_file(lambda sentences, tasks: ["a\nb\u2028c\td"] * len(sentences), SENTENCES, TASKS, path, {})
    assert path.read_text().splitlines() == ["a b c d"] * 10


def test_another_file_in_its_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    partial(path).write_text("somebody's notes\n")
    with pytest.raises(NeuronspecError, match="is damaged: remove it to start again"):
        translate_file(Translator(), SENTENCES, TASKS, path, {})
    partial(path).write_text(json.dumps({"made_from": "something else"}) + "\n")
    translate_file(Translator(), SENTENCES, TASKS, path, {})
    assert path.read_text().splitlines() == EXPECTED


def test_nothing_makes_an_empty_file(tmp_path: Path) -> None:
    translate_file(Translator(), [], [], tmp_path / "out.txt", {})
    assert (tmp_path / "out.txt").read_text() == ""
