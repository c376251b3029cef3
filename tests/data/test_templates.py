from __future__ import annotations

from pathlib import Path

import pytest

from neuronspec.data.templates import fill_template, find_tasks, list_grid
from neuronspec.errors import NeuronspecError


def test_a_template_names_the_files_of_a_direction() -> None:
    assert fill_template("a/{src}-{tgt}/{lang}.txt", "en-de", "src") == Path("a/en-de/en.txt")
    assert fill_template("a/{task}.{lang}", "zh-Hant-pt-BR", "tgt") == Path("a/zh-Hant-pt-BR.pt-BR")
    with pytest.raises(NeuronspecError, match=r"unknown placeholder \{target\} in x.\{target\}; known: \{src\}"):
        fill_template("x.{target}", "en-de", "src")


@pytest.mark.parametrize("template", ["{task}.txt", "{src}-{tgt}.txt", "{src}-{tgt}/{src}.{tgt}.txt", "{task}/out"])
@pytest.mark.parametrize("folder", ["", "deep/er/", "./"])
def test_the_files_of_a_template_tell_its_directions(
    template: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for task in ("en-de", "de-en", "zh-Hant-pt-BR"):
        path = fill_template(folder + template, task, "tgt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n")
    for other in ("notes.txt", "no-directions.txt"):
        (tmp_path / folder / other).write_text("x\n")
    for prefix in ("", f"{tmp_path}/"):
        assert find_tasks(prefix + folder + template) == ["de-en", "en-de", "zh-Hant-pt-BR"]


@pytest.mark.parametrize("template", ["flores.{lang}", "x/{src}.txt", "plain.txt"])
def test_a_template_must_tell_directions_apart(template: str) -> None:
    with pytest.raises(NeuronspecError, match="cannot tell directions apart"):
        find_tasks(template)


def test_a_grid_is_all_pairs_of_languages_or_the_directions_given() -> None:
    assert list_grid(["en", "de"]) == ["en-de", "de-en"]
    assert list_grid(["en-de", "en-de", "fr-en"]) == ["en-de", "fr-en"]
    assert len(list_grid(["en", "de", "fr", "zh-Hant", "pt-BR"])) == 20
    with pytest.raises(NeuronspecError, match="at least two languages"):
        list_grid(["en"])
    with pytest.raises(NeuronspecError, match="unknown language 'germn'"):
        list_grid(["en", "germn"])
    with pytest.raises(NeuronspecError, match="'en' is one language"):
        list_grid(["en-de", "en"])
