from __future__ import annotations

from pathlib import Path

import pytest

from neuronspec.data.templates import fill_template, find_file, find_tasks, list_grid
from neuronspec.errors import NeuronspecError


def test_a_template_names_the_files_of_a_direction() -> None:
    assert fill_template("a/{src}-{tgt}/{lang}.txt", "en-de", "src") == Path("a/en-de/en.txt")
    assert fill_template("a/{task}.{lang}", "zh-Hant-pt-BR", "tgt") == Path("a/zh-Hant-pt-BR.pt-BR")
    with pytest.raises(
        NeuronspecError,
        match=r"unknown placeholder \{target\} in x.\{target\} \(did you mean 'tgt'\?\); known: \{src\}",
    ):
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


def test_files_to_read_are_found_by_wildcards_and_in_other_spellings(tmp_path: Path) -> None:
    for name in ("news-1.de-en.de", "flores/deu_Latn.devtest", "flores/eng_Latn.devtest", "out/base.deu-eng.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def find(template: str, task: str = "de-en") -> str:
        return str(find_file(tmp_path / template, task, "src").relative_to(tmp_path))

    assert find("news-*.{task}.{src}") == "news-1.de-en.de"
    assert find("flores/{src}.devtest") == "flores/deu_Latn.devtest"
    assert find("flores/{lang}.*") == "flores/deu_Latn.devtest"
    assert find("*/base.{task}.txt") == "out/base.deu-eng.txt"
    assert find("nothing.{src}") == "nothing.de"
    assert find_tasks(tmp_path / "out" / "*.{task}.txt") == ["deu-eng"]

    (tmp_path / "news-2.de-en.de").touch()
    with pytest.raises(NeuronspecError, match="2 files fit"):
        find("news-*.{task}.{src}")


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
    with pytest.raises(NeuronspecError, match="'en' is one language"):
        list_grid(["en-de", "gsw-bern", "en"])


def test_a_grid_of_a_dialect_is_all_pairs() -> None:
    assert list_grid(["en", "gsw-bern"]) == ["en-gsw-bern", "gsw-bern-en"]
    assert list_grid(["hsb", "x-foo", "ton_Latn"])[:2] == ["hsb-x-foo", "hsb-ton_Latn"]


def test_files_of_languages_that_nobody_knows_are_of_a_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = ["de-x-foo", "en-gsw-bern", "en-hsb", "en-qzz_Latn", "gronings-en", "ton_Latn-en"]
    for name in (*tasks, "en-gronings", "no-notes", "read-me"):
        Path(f"{name}.txt").write_text("x\n")
    assert find_tasks("{task}.txt") == sorted([*tasks, "en-gronings"])
    assert "no-notes.txt, read-me.txt" in caplog.text


def test_a_grid_without_directions_names_the_files_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("read-me.txt").write_text("x\n")
    with pytest.raises(NeuronspecError, match=r"the names of read-me\.txt hold no two known languages"):
        find_tasks("{task}.txt")
