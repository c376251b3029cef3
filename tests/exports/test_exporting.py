"""Exports are proven before they are published: what does not equal the masked model never appears."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.patience import PATIENCE
from tests.processes import COMMAND, Process, call
from tests.translation.talkative_models import make_masks, make_model
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerFast

import neuronspec as ns
from neuronspec.errors import NeuronspecError
from neuronspec.exports import requests
from neuronspec.exports.exporting import Export
from neuronspec.exports.formats import EXPORTS, Answer, ExportFormat, ExportRequest, Standard, Written
from neuronspec.exports.places import EXPORT_FILE
from neuronspec.models.loading import save_model
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import get_masks
from neuronspec.specialization.routing import find_router

SENTENCES = ["ab cd", "ef gh ij", "kl a", "b c d e f", "p o n m"]
TASKS = ("de-en", "en-fr")


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return make_model("m2m_100", tokenizer)


@pytest.fixture(scope="module")
def masks(model: PreTrainedModel) -> NeuronMasks:
    return make_masks(model, TASKS)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EXPORTS, "_entries", dict(EXPORTS._entries))


def export(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks | None, out: Path, **options: Any
) -> Export:
    given = {"task": "de-en", "sentences": SENTENCES, "max_tokens": 12, **options}
    return ns.export(model, tokenizer, masks, out=out, **given)


def make_request(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks, *, max_tokens: int | None
) -> ExportRequest:
    given: dict[str, Any] = {"task": "de-en", "sentences": SENTENCES, "dense": False, "pivot": "en", "limit": 50}
    return requests.make_request(
        EXPORTS["hf"], "hf", model, tokenizer, masks, max_tokens=max_tokens, source="", options={}, **given
    )


def test_an_export_is_published_with_its_proof_and_leaves_the_model_alone(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks, tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = export(model, tokenizer, masks, tmp_path / "out")

    assert [(one.task, one.beams, one.sentences, one.equal) for one in found.agreements] == [
        ("de-en", beams, len(SENTENCES), len(SENTENCES)) for beams in (1, 5)
    ]
    assert found.parameters is not None
    assert found.parameters < found.dense_parameters
    assert found.bytes < found.dense_bytes
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"| `de-en` | beam 5 | {len(SENTENCES)} |  | {len(SENTENCES)} | 100.0 |" in card
    assert AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").num_parameters() < model.num_parameters()

    assert find_router(model) is None
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def register_wrong(standard: Standard) -> None:
    """Register a format that writes the model of other masks than it was asked for."""

    def write(request: ExportRequest, directory: Path) -> Written:
        assert request.masks is not None
        other = request.masks.complement()
        return EXPORTS["hf"].write(dataclasses.replace(request, masks=other), directory)

    wrong = dataclasses.replace(EXPORTS["hf"], write=write, standard=lambda options: standard)
    EXPORTS.register("wrong")(wrong)


@pytest.mark.usefixtures("registry")
def test_r8_an_export_with_other_neurons_is_not_published(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks, tmp_path: Path
) -> None:
    register_wrong(Standard())
    with pytest.raises(NeuronspecError, match=r"not published.*of 5 sentences of de-en get other tokens.*'ab cd'"):
        export(model, tokenizer, masks, tmp_path / "out", format="wrong")
    assert list(tmp_path.iterdir()) == []
    assert find_router(model) is None


@pytest.mark.usefixtures("registry")
def test_a_format_of_lower_precision_is_held_to_its_own_standard(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks, tmp_path: Path
) -> None:
    register_wrong(Standard(greedy=0, beam=0, chrf=99))
    with pytest.raises(NeuronspecError, match=r"too far from the masked model's: chrF\+\+ .* expected 99 or more"):
        export(model, tokenizer, masks, tmp_path / "out", format="wrong")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("registry")
def test_a_registered_format_works_at_once(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    @contextlib.contextmanager
    def open_text(request: ExportRequest, directory: Path) -> Iterator[Answer]:
        assert (directory / "model.txt").read_text() == "de-en"
        with EXPORTS["hf"].open(request, tmp_path / "hf") as answer:
            yield answer

    def write_text(request: ExportRequest, directory: Path) -> Written:
        (directory / "model.txt").write_text(request.task)
        return Written(notes=("Text.",))

    EXPORTS.register("text")(ExportFormat(write=write_text, open=open_text, summary="text"))
    export(model, tokenizer, None, tmp_path / "hf", dense=True)
    found = export(model, tokenizer, None, tmp_path / "out", format="text", dense=True)
    assert found.parameters is None
    assert "Text." in (tmp_path / "out" / "README.md").read_text()


def test_a_specialized_model_is_exported_with_its_masks_and_stays_specialized(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = make_model("m2m_100", tokenizer)
    masks = make_masks(model, TASKS)
    ns.specialize(model, masks)
    found = export(model, tokenizer, None, tmp_path / "own")
    assert get_masks(model) == masks
    given = export(model, tokenizer, masks, tmp_path / "given")
    assert (found.parameters, found.bytes) == (given.parameters, given.bytes)


def test_an_unseen_direction_is_composed(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks, tmp_path: Path
) -> None:
    found = export(model, tokenizer, masks, tmp_path / "out", task="de-fr")
    assert found.signature["masks.composed"] == "x-en + en-y"
    pruned = ns.prune(model, masks.compose("de-en", "en-fr"), "de-fr", widths="stack")
    assert found.parameters == sum(parameter.numel() for parameter in pruned.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sv-en"}, "no masks"),
        ({"task": None}, r"the format hf needs a task \(--task\), one of de-en, en-fr"),
        ({"task": ["de-en", "en-fr"]}, "an export as hf holds one task, not 2"),
        ({"format": "hg"}, "unknown export format 'hg'; known: hf"),
        ({"width": "own"}, r"the format hf has no option 'width' .did you mean 'widths'"),
        ({"widths": "owm"}, "the format hf cannot have widths='owm'"),
        ({"dense": True}, "give masks or dense=True, not both"),
        ({"sentences": ["", " "]}, "there is no text of de-en to prove the export with"),
        ({"sentences": {"en-fr": ["a"]}}, "there is no text of de-en to prove the export with"),
        ({"sentences": "ab cd"}, "give the sentences as a list of texts"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    masks: NeuronMasks,
    tmp_path: Path,
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(NeuronspecError, match=message):
        export(model, tokenizer, masks, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


# Lengths


def test_long_sentences_are_left_out_of_the_proof_and_counted(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    masks: NeuronMasks,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = "ab cd " * 60  # the model has 64 positions
    found = export(model, tokenizer, masks, tmp_path / "out", sentences=["ab cd", long, "", long, "kl a"], limit=2)
    assert [one.sentences for one in found.agreements] == [2, 2]
    assert "the text of de-en: 2 of 5 are longer than 62 tokens" in caplog.text
    assert "(lines 2, 4): left out" in caplog.text

    with pytest.raises(NeuronspecError, match="each sentence of de-en is longer than the 62 tokens that the proof"):
        export(model, tokenizer, masks, tmp_path / "none", sentences=[long])


def test_an_answer_has_as_many_tokens_as_the_model_can_write(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks, tmp_path: Path
) -> None:
    """By default, no more than the positions of every program; more than that is refused by its number."""
    request = make_request(model, tokenizer, masks, max_tokens=None)
    assert request.max_tokens == 62
    for given in (63, 99_999_999):
        with pytest.raises(NeuronspecError, match=rf"max_tokens={given} is more than this model can write: 62 tokens"):
            make_request(model, tokenizer, masks, max_tokens=given)
    with pytest.raises(NeuronspecError, match="max_tokens=0: an answer of the proof has 1 token or more"):
        make_request(model, tokenizer, masks, max_tokens=0)


def test_a_model_without_positions_has_a_limit_too(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model("t5", tokenizer)
    assert make_request(model, tokenizer, make_masks(model, TASKS), max_tokens=None).max_tokens == 200
    with pytest.raises(NeuronspecError, match="this model has no limit of its own, and an answer has up to 1024"):
        make_request(model, tokenizer, make_masks(model, TASKS), max_tokens=99_999_999)


def test_masks_of_another_model_are_refused(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    other = NeuronMasks(TASKS, {f"{stack}.0": torch.ones(2, 8).bool() for stack in ("encoder", "decoder")})
    with pytest.raises(NeuronspecError, match="they belong to another architecture"):
        export(model, tokenizer, other, tmp_path / "out")
    with pytest.raises(NeuronspecError, match="there are no masks: give some, or dense=True"):
        export(model, tokenizer, None, tmp_path / "out")


def test_a_place_is_replaced_only_if_it_holds_an_export(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(NeuronspecError, match="exists: choose another --out, or give --force"):
        export(model, tokenizer, None, out, dense=True)
    with pytest.raises(NeuronspecError, match="holds no export, and --force replaces nothing else"):
        export(model, tokenizer, None, out, dense=True, force=True)
    assert (out / "notes.txt").read_text() == "mine"

    (out / EXPORT_FILE).write_text("{}")
    export(model, tokenizer, None, out, dense=True, force=True)
    assert not (out / "notes.txt").exists()


# Full disks, forbidden places, killed commands


def test_what_the_disk_has_no_room_for_is_not_begun(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    masks: NeuronMasks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(NeuronspecError, match=r"the export needs 0\.\d MB, and the disk of .* has 0\.0 MB left"):
        export(model, tokenizer, masks, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["hf", "masks", "ia3"])
def test_a_disk_that_fills_up_leaves_nothing(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    masks: NeuronMasks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    format: str,
) -> None:
    """An earlier export stays; the disk is full at the last file, the card."""
    export(model, tokenizer, masks, tmp_path / "out", format=format)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(path: Path, *_: Any) -> None:
        path.write_text("half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("neuronspec.exports.exporting.write_json", fail)
    for out in ("out", "new"):
        with pytest.raises(NeuronspecError, match="no space is left on the disk; free some and run the same command"):
            export(model, tokenizer, masks, tmp_path / out, format=format, force=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_place_that_cannot_be_written_is_named(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NeuronspecError, match="a part of this path is a file"):
        export(model, tokenizer, masks, tmp_path / "file" / "out")
    with pytest.raises(NeuronspecError, match="cannot write /proc/out"):
        export(model, tokenizer, masks, Path("/proc/out"))


SLOW = """
import dataclasses, pathlib, time
from neuronspec.exports import EXPORTS

def open_slowly(request, directory):
    pathlib.Path("proving").touch()
    time.sleep(60)

EXPORTS.register("slow")(dataclasses.replace(EXPORTS["masks"], open=open_slowly))
"""


def test_a_killed_export_is_not_published_and_leaves_no_trace_after_the_next(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks, tmp_path: Path
) -> None:
    save_model(model, tmp_path / "model", tokenizer)
    masks.save_pretrained(tmp_path / "masks")
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "dev.tsv").write_text("ab cd\tx\n")
    words = ["export", "model", "--masks", "masks", "--task", "de-en", "--text", "de-en=dev.tsv", "-o", "out/de-en"]

    process = Process([*COMMAND, "--import", "slow", *words, "-f", "slow", "--max-tokens", "4"], tmp_path)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "proving").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".de-en.tmp"]

    done = call([*COMMAND, *words, "-f", "masks", "--max-tokens", "4"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["de-en"]
