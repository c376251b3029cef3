"""LoRA, trained by the loop: it alone moves, by its rows, every bit comes back (R1), and PEFT loads it (R8)."""

from __future__ import annotations

import copy
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from tests.training import conftest as toys
from transformers import PreTrainedModel

from neuronspec.config.sections import Sampling, Training
from neuronspec.data.sampling import Batch
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path
from neuronspec.methods import METHODS, make_method
from neuronspec.methods.lora.export import export_peft
from neuronspec.methods.lora.method import LoraTraining
from neuronspec.methods.lora.model import LORA_FILE, Lora, LoraSettings, load_lora
from neuronspec.models.loading import load_model, load_tokenizer, save_model
from neuronspec.specialization.routing import find_router, unspecialize
from neuronspec.training.checkpoints import STATE_DIRECTORY
from neuronspec.training.journal import LOG_FILE, read_log
from neuronspec.training.loop import train
from neuronspec.training.method import Corpora, Resources
from neuronspec.training.objective import TranslationLoss, token_losses

peft = pytest.importorskip("peft")

toy_corpora, toy_directory, toy_model, toy_tokenizer = (
    getattr(toys, f"toy_{name}") for name in ("corpora", "directory", "model", "tokenizer")
)
TASKS = ("de-en", "en-de")
SHORT = {"updates": 8, "validate_every": 4, "checkpoint_every": 2, "warmup": 2, "learning_rate": 0.02}


def make(**options: Any) -> LoraTraining:
    method = make_method("lora", {"rank": 4, **options})
    assert isinstance(method, LoraTraining)
    return method


def run(
    directory: Path, corpora: Corpora, out: Path, options: dict[str, Any] | None = None, **given: Any
) -> tuple[Path, LoraTraining]:
    method = make(**(options or {}))
    path, _ = train(
        load_model(directory / "model"),
        load_tokenizer(directory / "model"),
        corpora,
        method,
        Resources(TASKS, seed=1),
        training=Training.model_validate({**SHORT, "select": "last", **given}),
        sampling=Sampling(tokens_per_batch=96),
        directory=out,
        cpu=True,
    )
    return path, method


def fingerprint(checkpoint: Path) -> list[str]:
    return [hash_path(checkpoint / name) for name in (LORA_FILE, f"{STATE_DIRECTORY}/optimizer.safetensors")]


def test_it_is_registered() -> None:
    assert METHODS["lora"] is LoraTraining
    assert (LoraTraining.name, LoraTraining.routes, LoraTraining.uses_masks) == ("lora", True, False)
    assert LoraTraining.Options().model_dump() == {"rank": 8, "alpha": 16, "dropout": 0.0, "targets": "both"}


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"alpha": 0}, {"dropout": 1.0}, {"targets": "q_proj"}, {"bias": 1}])
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        make_method("lora", wrong)


def test_training_moves_the_lora_and_nothing_else(toy_directory: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    path, method = run(toy_directory, toy_corpora, tmp_path)
    before, after = load_model(toy_directory / "model").state_dict(), load_model(path).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    fresh = make()
    fresh.attach(load_model(toy_directory / "model"), Resources(TASKS, seed=1))
    start, end = fresh.lora.sets.state_dict(), method.lora.sets.state_dict()
    assert not any(torch.equal(start[name], end[name]) for name in start)  # both directions', every tensor
    moments = load_file(path / STATE_DIRECTORY / "optimizer.safetensors")
    assert {name.partition(".")[2].partition(".")[0] for name in moments} == {"parts"}


def test_training_reduces_the_loss_of_every_task(toy_directory: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    run(toy_directory, toy_corpora, tmp_path, {"rank": 8}, updates=60, validate_every=10, checkpoint_every=None)
    first, *_, last = (entry["valid"]["loss"] for entry in read_log(tmp_path / LOG_FILE))
    assert all(last[name] < first[name] - 0.1 for name in (*TASKS, "all"))


@pytest.mark.parametrize("saved", [1, 3])
def test_r1_interrupted_it_resumes_to_the_same_bits(
    toy_directory: Path, toy_corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: int
) -> None:
    """With dropout in the model and in the LoRA."""
    options = {"dropout": 0.2}
    whole, _ = run(toy_directory, toy_corpora, tmp_path / "whole", options)
    save, calls = LoraTraining.save, itertools.count()

    def stop(self: LoraTraining, directory: Path) -> None:
        if next(calls) == saved:
            raise KeyboardInterrupt
        save(self, directory)

    with monkeypatch.context() as patch:
        patch.setattr(LoraTraining, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run(toy_directory, toy_corpora, tmp_path / "halves", options)
    assert (tmp_path / "halves" / "checkpoints" / f"checkpoint-{2 * saved:06d}").is_dir()
    again, _ = run(toy_directory, toy_corpora, tmp_path / "halves", options)
    assert fingerprint(again) == fingerprint(whole)
    assert read_log(tmp_path / "halves" / LOG_FILE)[-1]["valid"] == read_log(tmp_path / "whole" / LOG_FILE)[-1]["valid"]


def test_another_lora_does_not_go_on_from_a_checkpoint(
    toy_directory: Path, toy_corpora: Corpora, tmp_path: Path
) -> None:
    run(toy_directory, toy_corpora, tmp_path)
    with pytest.raises(NeuronspecError, match="holds another LoRA: it was trained with rank 4; this run uses rank 5"):
        run(toy_directory, toy_corpora, tmp_path, {"rank": 5})


def test_a_checkpoint_loads_for_translation(toy_directory: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    path, method = run(toy_directory, toy_corpora, tmp_path)
    model = method.lora.model.eval()
    loaded = load_lora(load_model(path), path).model.eval()
    batch = toy_corpora.train[Batch(np.array([0, 1, 1, 0]), np.array([0, 1, 2, 3]))]
    assert torch.equal(token_losses(loaded, batch)[0], token_losses(model, batch)[0])
    before = token_losses(unspecialize(loaded), batch)[0]
    assert torch.equal(before, token_losses(load_model(toy_directory / "model").eval(), batch)[0])
    assert not torch.equal(before, token_losses(model, batch)[0])


def test_each_direction_s_lora_learns_from_its_rows_alone(toy_model: PreTrainedModel, toy_corpora: Corpora) -> None:
    method = make()
    method.attach(toy_model.eval(), Resources(TASKS))
    assert method.added_modules is not None
    batch = toy_corpora.train[Batch(np.array([0, 1, 1, 0]), np.array([0, 1, 2, 3]))]
    rows = {name: tensor[batch["tasks"] == 1] for name, tensor in batch.items()}
    TranslationLoss(toy_model, 0.1, method.added_modules)(rows).backward()
    touched = {name for name, parameter in method.added_modules.named_parameters() if parameter.grad is not None}
    assert touched == {name for name, _ in method.added_modules.named_parameters() if name.startswith("1.")}


@pytest.mark.parametrize("targets", ["attention", "ffn", "both"])
def test_the_parts_are_the_matrices_of_lora(toy_model: PreTrainedModel, targets: str) -> None:
    method = make(targets=targets)
    method.attach(toy_model, Resources(TASKS))
    assert method.added_modules is not None
    attention, ffn = 12 * 4 * (16 + 16), 4 * 4 * (16 + 32)
    expected = {"attention": attention, "ffn": ffn, "both": attention + ffn}[targets]
    assert sum(parameter.numel() for parameter in method.added_modules.parameters()) == 2 * expected
    assert not set(method.added_modules.parameters()) & set(toy_model.parameters())
    router = find_router(toy_model)
    assert router is method.lora


# For PEFT


@torch.no_grad()
@pytest.mark.parametrize("targets", ["attention", "ffn", "both"])
@pytest.mark.parametrize("kind", ["m2m_100", "marian", "t5", "mt5", "llama"])
def test_r8_peft_loads_what_is_exported(
    kind: str, targets: Any, small_model: Any, small_batch: Any, tmp_path: Path
) -> None:
    batch = small_batch()
    if kind == "llama":
        batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    plain = small_model(kind).float()
    model = copy.deepcopy(plain)
    tasks = ["de-en", "en-fr"]
    lora = Lora(model, LoraSettings(tasks=tasks, rank=4, alpha=6, dropout=0.1, targets=targets))
    for parameter in lora.sets.parameters():
        parameter.normal_(0, 0.3)
    save_model(model, tmp_path)
    lora.save(tmp_path)
    lora.add_zero_shot(["de-fr"], "en")
    for task in lora.tasks:
        out = tmp_path / task
        export_peft(tmp_path, task, out)
        assert {file.name for file in out.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
        theirs = peft.PeftModel.from_pretrained(copy.deepcopy(plain), str(out)).eval()
        expected = model(**batch, tasks=[task] * 4).logits
        assert torch.equal(theirs(**batch).logits, expected)
        assert not torch.equal(plain(**batch).logits, expected)
        merged = theirs.merge_and_unload()(**batch).logits
        assert torch.allclose(merged, expected, rtol=1e-3, atol=1e-3)


def test_an_export_names_its_matrices_shortly(toy_directory: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    path, _ = run(toy_directory, toy_corpora, tmp_path / "run", {"targets": "ffn", "alpha": 7, "dropout": 0.1})
    export_peft(path, "en-de", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text("utf-8"))
    expected = {"peft_type": "LORA", "task_type": "SEQ_2_SEQ_LM", "r": 4, "lora_alpha": 7, "lora_dropout": 0.1}
    assert config | expected == config
    assert config["base_model_name_or_path"] == str(path)
    assert sorted(config["target_modules"]) == ["fc1", "fc2"]
    assert len(load_file(tmp_path / "out" / "adapter_model.safetensors")) == 2 * 2 * 2
    auto = peft.AutoPeftModelForSeq2SeqLM.from_pretrained(str(tmp_path / "out"))  # finds the model by its name
    assert sum("lora_B" in name for name, _ in auto.named_parameters()) == 4


def test_what_cannot_be_exported_is_refused(
    toy_directory: Path, toy_corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NeuronspecError, match=f"{LORA_FILE} does not exist: expected LoRA"):
        export_peft(toy_directory / "model", "de-en", tmp_path / "out")
    path, _ = run(toy_directory, toy_corpora, tmp_path / "run")
    with pytest.raises(NeuronspecError, match="nothing for the task 'sv-en'"):
        export_peft(path, "sv-de", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(NeuronspecError, match=r"pip install 'neuronspec\[lora\]'"):
        export_peft(path, "de-en", tmp_path / "out")
    assert not (tmp_path / "out").exists()
