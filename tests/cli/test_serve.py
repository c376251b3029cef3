"""`neuronspec serve`: a real model, asked by a real client, and what is refused before it starts."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from libretranslatepy import LibreTranslateAPI
from tests.command import run_command
from tests.patience import PATIENCE
from tests.processes import COMMAND, Process
from tests.translation.talkative_models import make_masks, make_model
from transformers import PreTrainedTokenizerFast

from neuronspec.config.sections import Translation
from neuronspec.exports.exporting import export
from neuronspec.models.building import build_model
from neuronspec.models.loading import save_model
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.routing import dense
from neuronspec.translation.beam_search import translate_sentences

TASKS = ("en-de", "de-en")
TEXTS = ("ab cd", "ef gh ij", "kl")


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a model that was never trained, with masks under which it says something else."""
    directory = tmp_path_factory.mktemp("models") / "masked"
    save_model(build_model("tiny", tokenizer, seed=3), directory, tokenizer)
    generator = torch.Generator().manual_seed(0)
    layers = [f"{stack}.{number}" for stack in ("encoder", "decoder") for number in (0, 1)]
    masks = NeuronMasks(list(TASKS), {layer: torch.rand(2, 512, generator=generator) < 0.2 for layer in layers})
    masks.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def address(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service over the model, which a signal ends."""
    words = ["serve", "--model", str(model), "--port", "0", "--beams", "2", "--json"]
    process = Process([*COMMAND, *words], tmp_path_factory.mktemp("service"))
    ready = wait_until_ready(process)
    assert ready["tasks"] == list(TASKS)

    yield ready["address"]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert f"2 directions at {ready['address']}; Ctrl-C stops" in errors
    assert "ab cd" not in errors


def wait_until_ready(process: Process) -> dict[str, Any]:
    """Return what a service says when it can be asked."""
    deadline = time.monotonic() + PATIENCE
    while not process.read_output().endswith("\n"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    ready: dict[str, Any] = json.loads(process.read_output())
    return ready


@pytest.fixture(scope="module")
def expected(model: Path, tokenizer: PreTrainedTokenizerFast) -> dict[tuple[str, str, bool], str]:
    """What `translate` makes of every text: by text, direction, and whether the masks are on."""
    built = build_model("tiny", tokenizer, seed=3)
    specialize(built, NeuronMasks.from_pretrained(model))
    found = {}
    for task in TASKS:
        for text in TEXTS:
            found[text, task, True] = translate_sentences(built, tokenizer, [text], [task], Translation(beams=2))[0]
            with dense(built):
                [without] = translate_sentences(built, tokenizer, [text], [task], Translation(beams=2))
            found[text, task, False] = without
    return found


def test_a_client_of_libretranslate_gets_the_translations_of_the_model(
    address: str, expected: dict[tuple[str, str, bool], str]
) -> None:
    client = LibreTranslateAPI(address)
    assert [(one["code"], one["targets"]) for one in client.languages()] == [("en", ["de"]), ("de", ["en"])]

    asked = [(text, task) for text in TEXTS for task in TASKS] * 2
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda one: client.translate(one[0], *one[1].split("-")), asked))
    assert answers == [expected[text, task, True] for text, task in asked]


def test_one_request_mixes_directions_with_masks_and_without(
    address: str, expected: dict[tuple[str, str, bool], str]
) -> None:
    items: list[Any] = [{"text": text, "task": task, "masked": masked} for text, task, masked in expected]
    body = json.dumps({"items": items}).encode()
    request = urllib.request.Request(f"{address}/v1/translate", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["translations"] == list(expected.values())
    masked, unmasked = ([value for (*_, on), value in expected.items() if on is state] for state in (True, False))
    assert masked != unmasked


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "give a model"),
        (["--model", "missing/"], "missing"),
        (["--model", ".", "--token-file", "missing"], "cannot read a token from missing"),
        (["--model", ".", "--queue", "5"], "a queue of 5 texts has no room"),
        (["--model", ".", "--engine", "none"], "unknown engine 'none'"),
        (["--model", ".", "--allow-origin", "example.org"], "is no origin"),
        (["--model", ".", "--host", "0.0.0.0"], "give it a token"),
        (["--exports", "missing"], "missing is no directory: give an export for CTranslate2"),
        (["--exports", "."], "holds no export for CTranslate2: neuronspec export"),
        (["--exports", ".", "--dense"], "--dense: these options are for --model"),
        (["--exports", ".", "--model", "."], "give --model or --exports, not both"),
        (["--exports", ".", "--memory-limit", "much"], "--memory-limit 'much' is no size; expected a number"),
        (["--model", ".", "--memory-limit", "8GB"], "--memory-limit: this option is for --exports"),
        (["--model", ".", "--compute-type", "int8"], "--compute-type is for --engine ctranslate2"),
        (["--model", ".", "--engine", "ctranslate2", "--dtype", "bfloat16"], "are for the engine transformers"),
    ],
)
def test_what_cannot_work_is_refused_before_a_model_is_loaded(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEURONSPEC_TOKEN", raising=False)
    assert run_command("serve", *words) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_port_that_is_taken_is_noticed_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert run_command("serve", "--model", tmp_path, "--port", taken.getsockname()[1]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_directions_come_from_masks_or_the_command_line(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_command("serve", "--model", model, "--dense", "--port", "0") == 2
    assert "--task" in capsys.readouterr().err


def test_exports_are_served_within_a_limit_of_memory(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    talkative = make_model("m2m_100", tokenizer)
    masks = make_masks(talkative, TASKS)
    for task in TASKS:
        given: dict[str, Any] = {"task": task, "sentences": TEXTS, "format": "ct2", "least_chrf": 0, "max_tokens": 40}
        export(talkative, tokenizer, masks, out=tmp_path / "exports" / task, **given)
    limit = max(path.stat().st_size for path in (tmp_path / "exports").rglob("model.bin"))

    # One of the two fits at a time.
    words = ["--exports", str(tmp_path / "exports"), "--memory-limit", str(limit), "--port", "0", "--beams", "1"]
    process = Process([*COMMAND, "serve", *words, "--json"], tmp_path)
    ready = wait_until_ready(process)
    assert sorted(ready["tasks"]) == sorted(TASKS)

    client = LibreTranslateAPI(ready["address"])
    rows = [(text, task) for text in TEXTS for task in TASKS]
    found = [client.translate(text, *task.split("-")) for text, task in rows]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 0, errors

    specialize(talkative, masks)
    options = Translation(beams=1, max_tokens=40)
    assert found == [translate_sentences(talkative, tokenizer, [text], [task], options)[0] for text, task in rows]
    assert len(set(found)) > len(TEXTS)
