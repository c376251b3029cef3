from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from neuronspec.cli.main import main
from neuronspec.config import Translation
from neuronspec.models.building import build_model
from neuronspec.models.loading import save_model
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.translation.decoding import translate as decode

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
        monkeypatch.setattr(sys, "argv", ["neuronspec", "translate", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as left:
            main()
        assert isinstance(left.value.code, int)
        return left.value.code

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


def test_nothing_to_translate_is_no_fault(
    translate: Translate, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate("--model", model, "en-de") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--model", "MODEL", "en-pt", "x"], "error: the model's vocabulary has no tag for Portuguese (pt)"),
        (["--model", "MODEL", "en-xx", "x"], "error: unknown direction 'en-xx'"),
        (["--model", "MODEL", "Hello", "x"], "error: unknown direction 'Hello'"),
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
