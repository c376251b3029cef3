"""Every format equals the masked model in families with real tokenizer classes (R8), and a wrong neuron is found."""

from __future__ import annotations

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.exports.families import ARCHITECTURES, DECODERS, TASKS, TEXTS, make_decoder, make_encoder_decoder
from tests.plain_program import find_code, translate_plainly
from tests.translation.talkative_models import make_masks
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerBase

import neuronspec as ns
from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.exports.answers import open_answers
from neuronspec.exports.formats import EXPORTS, ExportRequest, Written
from neuronspec.exports.reference import use_masked
from neuronspec.exports.vocabulary.trimming import list_tokens
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.translation.beam_search import translate_sentences

peft = pytest.importorskip("peft")
pytest.importorskip("ctranslate2")
Case = tuple[PreTrainedModel, PreTrainedTokenizerBase, NeuronMasks]


@pytest.fixture(scope="module", params=[*ARCHITECTURES, *DECODERS])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("family")
    make = make_decoder if request.param in DECODERS else make_encoder_decoder
    model, tokenizer = make(request.param, folder)
    return model, tokenizer, make_masks(model, TASKS)


def export(case: Case, out: Path, format: str, **options: Any) -> Any:
    model, tokenizer, masks = case
    given = {"sentences": dict.fromkeys(TASKS, TEXTS), "max_tokens": 8, **options}
    return ns.export(model, tokenizer, masks, out=out, format=format, **given)


def answers_of(model: Any, case: Case, beams: int = 5) -> list[list[int]]:
    return open_answers(model, case[1], 8)(TEXTS, TASKS[0], beams=beams)


def masked_answers(case: Case, beams: int = 5) -> list[list[int]]:
    with use_masked(case[0], case[2]) as masked:
        return answers_of(masked, case, beams)


def test_the_masks_of_these_models_matter(case: Case) -> None:
    with use_masked(case[0], None) as dense:
        assert answers_of(dense, case) != masked_answers(case)
    assert any(masked_answers(case))


@pytest.mark.parametrize("widths", ["plain", "own"])
def test_r8_hf_equals_the_masked_model(case: Case, widths: str, tmp_path: Path) -> None:
    found = export(case, tmp_path / "out", "hf", task=TASKS[0], widths=widths)
    assert all(one.equal == one.sentences == len(TEXTS) for one in found.agreements)
    if widths == "plain":
        kind = AutoModelForSeq2SeqLM if case[0].config.is_encoder_decoder else AutoModelForCausalLM
        loaded = kind.from_pretrained(tmp_path / "out")
        assert answers_of(loaded.eval(), case) == masked_answers(case)
        assert "They cost" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_the_card_of_a_model_whose_tags_are_no_special_tokens_prints_no_tag(tmp_path: Path) -> None:
    model, tokenizer = make_encoder_decoder("m2m_100", tmp_path)
    model.get_output_embeddings().weight.data[len(tokenizer) :] = 0  # no ids without a token
    masks = make_masks(model, TASKS)
    export((model, tokenizer, masks), tmp_path / "out", "hf", task=TASKS[0])
    assert tokenizer.convert_tokens_to_ids("__en__") not in tokenizer.all_special_ids

    codes = find_code((tmp_path / "out" / "README.md").read_text(encoding="utf-8"))
    with use_masked(model, masks) as masked:
        options = Translation(beams=5, max_tokens=8)
        expected = translate_sentences(masked, tokenizer, TEXTS, [TASKS[0]] * len(TEXTS), options)
    assert translate_plainly(tmp_path / "out", codes, TEXTS) == [expected]


def test_r8_masks_equal_the_masked_model(case: Case, tmp_path: Path) -> None:
    found = export(case, tmp_path / "out", "masks")
    assert [(one.task, one.equal) for one in found.agreements] == [(task, len(TEXTS)) for _ in (1, 5) for task in TASKS]
    assert NeuronMasks.from_pretrained(tmp_path / "out") == case[2]
    alone = export(case, tmp_path / "alone", "masks", task=TASKS[1])
    assert alone.tasks == NeuronMasks.from_pretrained(tmp_path / "alone").tasks == TASKS[1:]


def test_r8_ia3_equals_the_masked_model(case: Case, tmp_path: Path) -> None:
    found = export(case, tmp_path / "out", "ia3")
    assert all(one.equal == len(TEXTS) for one in found.agreements)
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == sorted(TASKS)

    # Stock PEFT around the stock model
    case[0].save_pretrained(tmp_path / "base")
    kind = AutoModelForSeq2SeqLM if case[0].config.is_encoder_decoder else AutoModelForCausalLM
    wrapped = peft.PeftModel.from_pretrained(kind.from_pretrained(tmp_path / "base"), tmp_path / "out" / TASKS[0])
    assert answers_of(wrapped, case) == masked_answers(case)


def test_r8_ct2_equals_the_masked_model(case: Case, tmp_path: Path) -> None:
    model, tokenizer, masks = case
    if not model.config.is_encoder_decoder:
        with pytest.raises(NeuronspecError, match="is no encoder-decoder"):
            export(case, tmp_path / "out", "ct2", task=TASKS[0])
        return

    # Rows without a token, as M2M-100 has some, are written by untrained models alone: CTranslate2 answers with tokens.
    model = copy.deepcopy(model)
    unnamed = set(range(model.config.vocab_size)) - set(list_tokens(tokenizer).values())
    model.get_output_embeddings().weight.data[list(unnamed)] = 0

    # Opened by stock CTranslate2, which ends a search with a beam in another way than transformers
    found = export((model, tokenizer, masks), tmp_path / "out", "ct2", task=TASKS[0], least_chrf=0)
    assert (found.agreements[0].beams, found.agreements[0].equal) == (1, len(TEXTS))
    assert found.agreements[0].changed


def test_r8_every_format_has_a_test_of_equality() -> None:
    tested = {
        found[1] for found in map(re.compile(r"test_r8_(\w+?)_equals?_the_masked_model").fullmatch, globals()) if found
    }
    assert tested == set(EXPORTS)


@pytest.mark.parametrize("masked", [True, False])
def test_r8_ia3_equals_the_steered_model(case: Case, masked: bool, tmp_path: Path) -> None:
    """A factor for all tasks and one for the first alone, with the masks and without."""
    model, tokenizer, masks = case
    *_, layer = layers = find_ffn_layers(model)
    both = ns.Steering({one.name: range(0, one.width, 2) for one in layers}, scale=-9)
    first = ns.Steering({layer.name: [0, 1]}, scale=[0, 2.5], tasks=[TASKS[0]])
    given = {"task": TASKS, "steering": [both, first]}
    found = export((model, tokenizer, masks if masked else None), tmp_path / "out", "ia3", **given)  # type: ignore[arg-type]
    assert all(one.equal == len(TEXTS) for one in found.agreements)
    assert any(one.changed for one in found.agreements)
    assert found.signature["steering"].endswith(f"Steering(2 neurons in 1 layer, scaled, {TASKS[0]})")

    # Stock PEFT around the stock model, against ns.steer
    model.save_pretrained(tmp_path / "base")
    kind = AutoModelForSeq2SeqLM if model.config.is_encoder_decoder else AutoModelForCausalLM
    wrapped = peft.PeftModel.from_pretrained(kind.from_pretrained(tmp_path / "base"), tmp_path / "out" / TASKS[0])
    with use_masked(model, masks if masked else None) as other:
        with ns.steer(other, both), ns.steer(other, first.everywhere()):
            expected = answers_of(other, case)
        assert answers_of(wrapped, case) == expected
        assert answers_of(other, case) != expected

    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert ("masked and steered model" in card) == masked
    assert "the factor of each neuron that the steering chooses" in card


def test_a_steering_that_an_export_would_lose_is_refused(tmp_path: Path) -> None:
    model, tokenizer = make_encoder_decoder("m2m_100", tmp_path)
    case = model, tokenizer, make_masks(model, TASKS)
    chosen = {"decoder.0": [1]}
    refused = {
        "the format hf would lose a steering, which changes no weights: choose ia3": (
            "hf",
            ns.Steering(chosen, scale=2),
        ),
        r"sets activations \(to=\) is no factor on them": ("ia3", ns.Steering(chosen, to=2)),
        "for sv-en, and the export for de-en: it would change nothing": (
            "ia3",
            ns.Steering(chosen, scale=2, tasks=["sv-en"]),
        ),
        "no neuron 999 in decoder.0": ("ia3", ns.Steering({"decoder.0": [999]}, scale=2)),
    }
    for message, (format, steering) in refused.items():
        with pytest.raises(NeuronspecError, match=message):
            export(case, tmp_path / "out", format, task=TASKS[0], steering=steering)
    with ns.steer(model, chosen, scale=2), pytest.raises(NeuronspecError, match="cannot export a model inside ns"):
        export(case, tmp_path / "out", "ia3")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", ["hf", "masks", "ia3"])
def test_r8_one_wrong_neuron_is_found_in_every_format(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = make_encoder_decoder("nllb", tmp_path)
    last = find_ffn_layers(model)[-1]
    with torch.no_grad():  # a neuron that always fires, and that decides what the model says
        last.expansions[0].bias[0] = 10
        last.projection.weight[:, 0].mul_(50)

    # It is off for every task, but on in what the format writes.
    masks = make_masks(model, TASKS)
    values = {name: masks.layer(name).clone() for name in masks.layers}
    values[last.name][:, 0] = False
    right = NeuronMasks(TASKS, values)
    values[last.name][:, 0] = True
    wrong = NeuronMasks(TASKS, values)

    def write(request: ExportRequest, directory: Path) -> Written:
        return EXPORTS[format].write(dataclasses.replace(request, masks=wrong.reorder(request.tasks)), directory)

    monkeypatch.setattr(EXPORTS, "_entries", dict(EXPORTS._entries))
    EXPORTS.register("wrong")(dataclasses.replace(EXPORTS[format], write=write))
    case = model, tokenizer, right
    with pytest.raises(NeuronspecError, match="not published, because it does not equal the masked model"):
        export(case, tmp_path / "out", "wrong", task=TASKS[0])
    assert not (tmp_path / "out").exists()
    assert export(case, tmp_path / "out", format, task=TASKS[0]).agreements[0].equal == len(TEXTS)


def test_released_masks_become_hf_but_no_adapter(tmp_path: Path) -> None:
    model, spoken = make_encoder_decoder("nllb", tmp_path)
    case = model, spoken, make_masks(model, TASKS).keep_bias()
    assert export(case, tmp_path / "hf", "hf", task=TASKS[0]).agreements[1].equal == len(TEXTS)
    with pytest.raises(NeuronspecError, match=r"these masks keep the bias of masked neurons .*: export as hf"):
        export(case, tmp_path / "ia3", "ia3")
    assert not (tmp_path / "ia3").exists()


def test_released_masks_of_a_model_without_biases_become_adapters(tmp_path: Path) -> None:
    model, spoken = make_encoder_decoder("madlad", tmp_path)
    case = model, spoken, make_masks(model, TASKS).keep_bias()
    assert export(case, tmp_path / "ia3", "ia3").agreements[1].equal == len(TEXTS)


@pytest.mark.parametrize("format", ["hf", "masks", "ia3"])
def test_a_model_in_half_precision_keeps_it(format: str, tmp_path: Path) -> None:
    model, spoken = make_encoder_decoder("m2m_100", tmp_path)
    case = model.to(torch.bfloat16), spoken, make_masks(model, TASKS)
    found = export(case, tmp_path / "out", format, task=TASKS[0])
    assert found.signature["dtype"] == "bfloat16"
    assert model.dtype == torch.bfloat16
    if format == "hf":
        assert load_file(tmp_path / "out" / "model.safetensors")["model.encoder.layers.0.fc1.weight"].dtype == (
            torch.bfloat16
        )


def test_an_adapter_whose_file_is_changed_is_another_model(tmp_path: Path) -> None:
    """What the proof opens is the file: a vector of ones is the dense model."""
    model, spoken = make_encoder_decoder("m2m_100", tmp_path)
    case = model, spoken, make_masks(model, TASKS)
    export(case, tmp_path / "out", "ia3", task=TASKS[0])
    path = tmp_path / "out" / "adapter_model.safetensors"
    save_file({name: torch.ones_like(tensor) for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    model.save_pretrained(tmp_path / "base")
    base = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "base")
    wrapped = peft.PeftModel.from_pretrained(base, tmp_path / "out")
    with use_masked(model, None) as dense:
        assert answers_of(wrapped, case) == answers_of(dense, case)
