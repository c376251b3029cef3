from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.command import run_command
from transformers import PreTrainedTokenizerFast

from neuronspec.config.sections import Translation
from neuronspec.models.building import build_model
from neuronspec.models.loading import save_model
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.translation.beam_search import translate_sentences as decode

Translate = Callable[..., int]
TEXT = ["ab cd", "ef gh ij", "kl"]


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a model that was never trained."""
    directory = tmp_path_factory.mktemp("models") / "plain"
    save_model(build_model("tiny", tokenizer, seed=3), directory, tokenizer)
    return directory


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Masks for two of the model's directions, under which it says something else."""
    generator = torch.Generator().manual_seed(0)
    layers = [f"{stack}.{number}" for stack in ("encoder", "decoder") for number in (0, 1)]
    made = NeuronMasks(["en-de", "de-en"], {layer: torch.rand(2, 512, generator=generator) < 0.2 for layer in layers})
    return made.save_pretrained(tmp_path / "masks")


@pytest.fixture
def translate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Translate:
    """Call `neuronspec translate` with some text on its standard input; return its exit code."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path, stdin: str = "") -> int:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        return run_command("translate", *arguments)

    return call


def expect(model: Path, tokenizer: PreTrainedTokenizerFast, masks: Path | None = None, beams: int = 2) -> list[str]:
    built = build_model("tiny", tokenizer, seed=3)
    if masks is not None:
        specialize(built, NeuronMasks.from_pretrained(masks))
    return decode(built, tokenizer, TEXT, ["en-de"] * len(TEXT), Translation(beams=beams))


@pytest.mark.parametrize("way", ["arguments", "stdin"])
def test_sentences_come_from_the_command_line_or_standard_input(
    translate: Translate,
    model: Path,
    tokenizer: PreTrainedTokenizerFast,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    given = TEXT if way == "arguments" else []
    stdin = "\n".join(TEXT) + "\n" if way == "stdin" else ""
    assert translate("--model", model, "--beams", 2, "en-de", *given, stdin=stdin) == 0
    assert capsys.readouterr().out.splitlines() == expect(model, tokenizer)


def test_json_pairs_each_sentence_with_its_translation(
    translate: Translate, model: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate("--model", model, "--beams", 2, "--json", "en-de", *TEXT) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        {"source": source, "translation": line} for source, line in zip(TEXT, expect(model, tokenizer), strict=True)
    ]


@pytest.mark.parametrize("way", ["option", "beside"])
def test_masks_are_given_or_lie_beside_the_model(
    translate: Translate,
    model: Path,
    masks: Path,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    directory, option = model, ["--masks", masks]
    if way == "beside":
        directory, option = tmp_path / "specialised", []
        save_model(build_model("tiny", tokenizer, seed=3), directory, tokenizer)
        NeuronMasks.from_pretrained(masks).save_pretrained(directory)
    assert translate("--model", directory, *option, "--beams", 2, "en-de", *TEXT) == 0
    masked = expect(model, tokenizer, masks)
    assert capsys.readouterr().out.splitlines() == masked != expect(model, tokenizer)


def test_a_file_of_steerings_changes_the_rows_of_its_tasks(
    translate: Translate, model: Path, masks: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A file that was translated in another way is translated anew."""
    rows = "".join(f"{task}\t{line}\n" for line in TEXT for task in ("en-de", "de-en"))
    (tmp_path / "rows.tsv").write_text(rows, encoding="utf-8")
    (tmp_path / "steering.yaml").write_text("neurons: {decoder.1: [0, 1, 2, 3]}\nto: 40\ntasks: [en-de]\n")
    common = ("--model", model, "--masks", masks, "--beams", 2, "-", "--input", "rows.tsv")
    assert translate(*common) == 0
    plain = capsys.readouterr().out.splitlines()
    assert translate(*common, "--steer", "steering.yaml") == 0
    steered = capsys.readouterr().out.splitlines()
    assert steered[1::2] == plain[1::2]
    assert steered[::2] != plain[::2]

    assert translate(*common, "--to", "out.txt") == 0
    assert translate(*common, "--to", "out.txt", "--steer", "steering.yaml") == 0
    assert (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines() == steered

    assert translate(*common, "--engine", "ct2", "--steer", "steering.yaml") == 2
    assert "--steer is for the engine transformers" in capsys.readouterr().err
    assert translate("--model", model, "--dense", "--steer", "steering.yaml", "en-de", "ab") == 2
    assert "does not know the tasks of its rows" in capsys.readouterr().err
    assert translate("--model", model, "--steer", "none.yaml", "en-de", "ab") == 2
    assert "there is no file of steerings none.yaml" in capsys.readouterr().err


def test_nothing_to_translate_is_no_fault(
    translate: Translate, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate("--model", model, "en-de") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--model", "MODEL", "en-pt", "x"], "error: the model's vocabulary has no tag for Portuguese (pt)"),
        (["--model", "MODEL", "en-xx", "x"], "error: the model's vocabulary has no tag for xx; its tags"),
        (["--model", "MODEL", "Hello", "x"], "error: 'Hello' is no direction"),
        (["--model", "MODEL", "--masks", "MASKS", "en-sv", "x"], "error: no masks for the task 'en-sv'"),
        (["--model", "MODEL", "--masks", "nothing", "en-de", "x"], "nothing"),
        (["--model", "./nothing", "en-de", "x"], "error: nothing is not a model directory"),
        (["--model", ".", "en-de", "x"], "error: . is not a model directory: no config.json in it"),
        ([], "error: give --model DIR, a direction and text"),
        (["--model", "MODEL"], "error: give --model DIR, a direction and text"),
        (["nope.yaml"], "error: no configuration 'nope.yaml'"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(
    translate: Translate,
    model: Path,
    masks: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    found: str,
) -> None:
    places = {"MODEL": model, "MASKS": masks}
    assert translate(*(places.get(argument, argument) for argument in arguments)) == 2
    said = capsys.readouterr()
    assert found in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_file_is_translated_into_a_file(
    translate: Translate,
    model: Path,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "in.txt").write_text("\n".join(TEXT) + "\n")
    assert translate("--model", model, "--beams", 2, "en-de", "--input", "in.txt", "--to", "out.txt") == 0
    assert (tmp_path / "out.txt").read_text().splitlines() == expect(model, tokenizer)
    assert capsys.readouterr().out == "3 translations are in out.txt\n"


def test_directions_may_be_mixed(
    translate: Translate, model: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = ["en-de", "de-en", "en-sv"]
    lines = "".join(f"{task}\t{sentence}\n" for task, sentence in zip(tasks, TEXT, strict=True))
    assert translate("--model", model, "--beams", 2, "-", stdin=lines) == 0
    built = build_model("tiny", tokenizer, seed=3)
    expected = [decode(built, tokenizer, [s], [t], Translation(beams=2))[0] for s, t in zip(TEXT, tasks, strict=True)]
    assert capsys.readouterr().out.splitlines() == expected
    assert translate("--model", model, "-", stdin="en-de\tfine\nno tab here\n") == 2
    assert "standard input:2: expected a direction, a tab and a sentence" in capsys.readouterr().err


def test_blank_lines_among_mixed_directions_stay_blank(
    translate: Translate, model: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = f"\u200b\nen-de\t{TEXT[0]}\n\nen-sv\t\nde-en\t{TEXT[1]}\n \n"
    assert translate("--model", model, "--beams", 2, "-", stdin=lines) == 0
    built = build_model("tiny", tokenizer, seed=3)
    first, second = decode(built, tokenizer, TEXT[:2], ["en-de", "de-en"], Translation(beams=2))
    assert capsys.readouterr().out.split("\n") == ["", first, "", "", second, "", ""]
    assert translate("--model", model, "-", stdin="\n \n") == 2
    assert "standard input holds no direction: expected a direction, a tab" in capsys.readouterr().err


def test_zero_shot_masks_are_composed_and_dense_leaves_masks_out(
    translate: Translate,
    model: Path,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    generator = torch.Generator().manual_seed(0)
    layers = [f"{stack}.{number}" for stack in ("encoder", "decoder") for number in (0, 1)]
    made = NeuronMasks(["de-en", "en-sv"], {layer: torch.rand(2, 512, generator=generator) < 0.2 for layer in layers})
    path = made.save_pretrained(tmp_path / "masks")
    plain = build_model("tiny", tokenizer, seed=3)
    dense = decode(plain, tokenizer, TEXT, ["de-sv"] * 3, Translation(beams=2))
    specialize(plain, made.compose("de-en", "en-sv"))
    masked = decode(plain, tokenizer, TEXT, ["de-sv"] * 3, Translation(beams=2))
    assert masked != dense
    assert translate("--model", model, "--masks", path, "--beams", 2, "de-sv", *TEXT) == 0
    assert capsys.readouterr().out.splitlines() == masked
    assert translate("--model", model, "--masks", path, "--dense", "--beams", 2, "de-sv", *TEXT) == 0
    assert capsys.readouterr().out.splitlines() == dense


def test_a_grid_is_every_pair_of_its_languages_with_composed_masks(
    translate: Translate, model: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    tasks = ["en-de", "de-en", "en-fr", "fr-en"]
    layers = [f"{stack}.{number}" for stack in ("encoder", "decoder") for number in (0, 1)]
    masks = NeuronMasks(tasks, {layer: torch.rand(4, 512, generator=generator) < 0.2 for layer in layers})
    place = masks.save_pretrained(tmp_path / "grid-masks")
    for code in ("en", "de", "fr"):
        Path(f"test.{code}").write_text("".join(f"{line} {code}\n" for line in TEXT), encoding="utf-8")
    grid = ("--model", model, "--masks", place, "--beams", 1, "en", "de", "fr", "-i", "test.{src}")
    assert translate(*grid, "-t", "out/{task}.txt") == 0
    assert sorted(file.stem for file in Path("out").glob("*.txt")) == sorted([*tasks, "de-fr", "fr-de"])
    built = specialize(build_model("tiny", tokenizer, seed=3), NeuronMasks.concatenate([masks, masks.zero_shot()]))
    for task in (*tasks, "de-fr", "fr-de"):
        sources = [f"{line} {task[:2]}" for line in TEXT]
        expected = decode(built, tokenizer, sources, [task] * len(TEXT), Translation(beams=1))
        assert Path(f"out/{task}.txt").read_text(encoding="utf-8").splitlines() == expected
    written = {file: file.stat().st_mtime_ns for file in Path("out").glob("*.txt")}
    Path("out/de-fr.txt").unlink()
    assert translate(*grid, "-t", "out/{task}.txt") == 0  # what is there, from the same, is left alone
    again = {file: file.stat().st_mtime_ns for file in Path("out").glob("*.txt")}
    assert {file.stem for file in again if again[file] != written[file]} == {"de-fr"}
    Path("out/fr-de.txt").write_text("edited\n")
    assert translate(*grid, "-t", "out/{task}.txt") == 0
    assert Path("out/fr-de.txt").read_text(encoding="utf-8") != "edited\n"
    again = {file: file.stat().st_mtime_ns for file in Path("out").glob("*.txt")}
    (model / "README.md").write_text("# What a run writes when the model is scored")
    assert translate(*grid, "-t", "out/{task}.txt") == 0
    assert again == {file: file.stat().st_mtime_ns for file in Path("out").glob("*.txt")}
    assert translate(*grid, "-t", "out/{task}.txt", "--beams", 2) == 0  # other settings: all anew
    assert all(file.stat().st_mtime_ns != again[file] for file in again)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["en", "de", "-t", "out/{task}.txt"], "a grid needs --input with a placeholder"),
        (["en", "de", "-i", "{src}", "-t", "out.{tgt}", "--pivot", "en", "fr"], "gives several directions one file"),
        (["en", "-i", "{src}", "-t", "{task}"], "at least two languages"),
        (["en", "de", "-i", "none.{src}", "-t", "{task}"], "none.en does not exist"),
        (["en", "german", "-i", "{src}", "-t", "{task}"], "unknown language 'german' (did you mean 'de' for German?"),
        (["en", "de", "-i", "empty", "-t", "{task}"], "empty is empty; expected one sentence a line"),
        (["en", "de", "-i", "{side}", "-t", "{task}"], "unknown placeholder {side} in {side}; known: {src}"),
        (["en-de", "-i", "latin", "-t", "{task}"], "latin:2 is not UTF-8"),
        (["en-ja", "-i", "text", "-t", "{task}"], "ja"),
        (["en-de", "x", "--engine", "marian"], "unknown engine 'marian'; known: transformers, ctranslate2"),
        (["en-de", "-i", "text", "-t", "text"], "text is read from: choose another --to"),
        (["en", "de", "-i", "text.{src}", "-t", "text.{tgt}"], "is read from: choose another --to"),
        (["en-de", "-i", "text", "-t", "folder"], "folder is no file: choose another --to"),
        (["en-de", "-i", "text", "-t", "/dev/null"], "/dev/null is no file: choose another --to"),
        (["en-de", "-i", "empty", "-t", "out"], "empty is empty; expected one sentence a line"),
        (["en-de", "x", "--json", "-t", "out"], "--json is for what is printed"),
        (["de-de", "-i", "text", "-t", "{task}"], "'de-de' goes from a language to itself"),
        (["en-de", "x", "--compute-type", "int8"], "--compute-type is for --engine ctranslate2"),
    ],
)
def test_what_a_grid_cannot_be_made_of_is_told(
    translate: Translate, model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], found: str
) -> None:
    Path("empty").touch()
    Path("latin").write_bytes(b"good\nb\xe4d\n")
    Path("folder").mkdir()
    for name in ("text", "text.en", "text.de"):
        Path(name).write_text("a b\n", encoding="utf-8")
    assert translate("--model", model, *arguments) == 2
    said = capsys.readouterr().err
    assert found in said
    assert "Traceback" not in said


def test_ctranslate2_says_the_same(
    translate: Translate, model: Path, masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ctranslate2")
    said = []
    for engine in ("transformers", "ctranslate2", "ct2"):
        options = ("--model", model, "--masks", masks, "--beams", 1, "--engine", engine)
        assert translate(*options, "en-de", *TEXT) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == len(TEXT)


def test_a_lone_carriage_return_is_no_end_of_a_line(
    translate: Translate, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate("--model", model, "--beams", 1, "en-de", stdin="ab cd\ref\r\nkl\n") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (
            ["demo", "--beams", "2"],
            "these options need --model; for a run, override the configuration: translate.beams=5",
        ),
        (["demo", "--engine", "ctranslate2"], "these options need --model"),
        (["--model", "nowhere", "en-de", "x", "--out", "here"], "--out is the directory of a run"),
        (["demo", "--dtype", "bfloat16"], "--dtype: these options need --model"),
        (
            ["--model", "nowhere", "en-de", "x", "--engine", "ctranslate2", "--dtype", "bfloat16"],
            "--dtype, --device-map and --quantize are for the engine transformers; --engine ctranslate2 has",
        ),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    translate: Translate, capsys: pytest.CaptureFixture[str], arguments: list[str], found: str
) -> None:
    assert translate(*arguments) == 2
    assert found in capsys.readouterr().err


def test_a_model_in_half_precision_translates(
    translate: Translate, model: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--beams", "2", "en-de", *TEXT)
    assert translate("--model", model, "--dtype", "bfloat16", "--device-map", "auto", *arguments) == 0
    built = build_model("tiny", tokenizer, seed=3).bfloat16()
    expected = decode(built, tokenizer, TEXT, ["en-de"] * len(TEXT), Translation(beams=2))
    assert capsys.readouterr().out.splitlines() == expected
