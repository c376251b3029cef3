"""The collator that hands on the tasks, under transformers' own trainer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization import packing
from neuronspec.specialization.collator import TaskCollator
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.packing import Packed
from neuronspec.specialization.routing import task

SmallModel = Callable[..., PreTrainedModel]
Example = dict[str, Any]

TASKS = ("de-en", "en-fr", "sv-de")


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let packed matrices hold a task's neurons alone: filled up as they are for speed, small ones would be whole."""
    monkeypatch.setattr(packing, "_WIDTH_MULTIPLE", 1)


@pytest.fixture
def model(small_model: SmallModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    still = {"attention_dropout": 0.0, "activation_dropout": 0.0, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0}
    return small_model(vocab_size=len(tokenizer), decoder_start_token_id=tokenizer.eos_token_id, **ids, **still).float()


@pytest.fixture
def masks(model: PreTrainedModel) -> NeuronMasks:
    generator = torch.Generator().manual_seed(0)
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    return NeuronMasks(TASKS, {name: torch.rand(3, width, generator=generator) > 0.5 for name, width in widths.items()})


@pytest.fixture
def examples() -> list[Example]:
    generator = torch.Generator().manual_seed(0)

    def draw(length: int) -> list[int]:
        return torch.randint(8, 60, (length,), generator=generator).tolist()

    return [{"input_ids": draw(3 + n % 4), "labels": draw(2 + n % 3), "task": TASKS[n % 3]} for n in range(12)]


class Recorded:
    """A collator that remembers the examples of every batch."""

    def __init__(self, collator: TaskCollator) -> None:
        self.collator = collator
        self.batches: list[dict[str, Any]] = []

    def __call__(self, examples: list[Example]) -> dict[str, Any]:
        batch = self.collator(examples)
        batch["tasks"] = batch["tasks"].clone()
        self.batches.append({**copy.deepcopy({**batch}), "names": [example["task"] for example in examples]})
        return batch


def make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    masks: NeuronMasks,
    examples: list[Example],
    folder: Path,
    **options: Any,
) -> tuple[Seq2SeqTrainer, Recorded, torch.optim.Optimizer]:
    collator = Recorded(TaskCollator(DataCollatorForSeq2Seq(tokenizer), masks))
    arguments: dict[str, Any] = {
        **{"per_device_train_batch_size": 4, "per_device_eval_batch_size": 4, "max_steps": 3, "use_cpu": True},
        **{"remove_unused_columns": False, "report_to": [], "save_strategy": "no", "disable_tqdm": True},
        **{"max_grad_norm": 0.0, "predict_with_generate": True, "generation_max_length": 6, "logging_steps": 1},
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(output_dir=str(folder), **{**arguments, **options}),
        train_dataset=examples,
        eval_dataset=examples,
        data_collator=collator,
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)),
    )
    return trainer, collator, optimizer


@pytest.mark.parametrize("packed", ["auto", "always"])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_trainer_of_transformers_trains_with_the_tasks_of_the_examples(
    model: PreTrainedModel,
    masks: NeuronMasks,
    tokenizer: PreTrainedTokenizerFast,
    examples: list[Example],
    packed: Packed,
    accumulated: int,
    tmp_path: Path,
) -> None:
    """Its losses and weights are those of a loop by hand, in which every row has its task by name."""
    byhand = specialize(copy.deepcopy(model), masks).train()
    specialize(model, masks, packed=packed)
    trainer, collator, _ = make_trainer(
        model, tokenizer, masks, examples, tmp_path, gradient_accumulation_steps=accumulated, max_steps=2
    )
    trainer.train()
    optimizer = torch.optim.SGD(byhand.parameters(), lr=0.1)
    losses = []
    parts = 1 if trainer.model_accepts_loss_kwargs else accumulated  # it divides only for the other models
    batches = collator.batches[: 2 * accumulated]
    for start in range(0, len(batches), accumulated):
        losses.append(0.0)
        for batch in batches[start : start + accumulated]:
            names = batch.pop("names")
            assert [TASKS[number] for number in batch.pop("tasks").tolist()] == names
            assert set(batch) == {"input_ids", "attention_mask", "labels"}
            loss = byhand(**batch, tasks=names).loss / parts
            loss.backward()
            losses[-1] += loss.item()
        optimizer.step()
        optimizer.zero_grad()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged == pytest.approx(losses, abs=1e-3)
    for (name, one), other in zip(model.named_parameters(), byhand.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5), name
    dense = specialize(copy.deepcopy(byhand), masks)
    with task(dense, "de-en"):  # and the tasks do matter
        assert not torch.allclose(dense(**batch).loss, loss * parts, atol=1e-4)


@pytest.mark.parametrize("packed", ["auto", "always"])
def test_the_trainer_evaluates_and_generates_with_the_tasks(
    model: PreTrainedModel,
    masks: NeuronMasks,
    tokenizer: PreTrainedTokenizerFast,
    examples: list[Example],
    packed: Packed,
    tmp_path: Path,
) -> None:
    """After an update too: what was kept from an evaluation before it would be out of date."""
    specialize(model, masks, packed=packed)
    same_task = [example | {"task": "en-fr"} for example in examples]
    trainer, _, _ = make_trainer(model, tokenizer, masks, same_task, tmp_path, max_steps=1)
    for _ in range(2):
        for data in (examples, same_task):
            reference = specialize(copy.deepcopy(model), masks, packed="never").eval()
            losses, sentences = [], []
            for start in range(0, len(data), 4):
                rows = data[start : start + 4]
                names = [row["task"] for row in rows]
                plain = [{name: value for name, value in row.items() if name != "task"} for row in rows]
                batch = DataCollatorForSeq2Seq(tokenizer)(plain)
                with torch.no_grad():
                    losses.append(reference(**batch, tasks=names).loss.item())
                    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
                    sentences += reference.generate(**inputs, tasks=names, max_length=6).tolist()
            found = trainer.predict(data)
            assert found.metrics["test_loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-4)
            padded = [
                [int(number) for number in row if number not in (-100, tokenizer.pad_token_id)]
                for row in found.predictions
            ]
            assert padded == [[number for number in row if number != tokenizer.pad_token_id] for row in sentences]
        trainer.train()


def test_the_default_optimiser_of_the_trainer_leaves_nothing_out_of_date(
    model: PreTrainedModel,
    masks: NeuronMasks,
    tokenizer: PreTrainedTokenizerFast,
    examples: list[Example],
    tmp_path: Path,
) -> None:
    """Evaluation, training with what transformers choose (fused AdamW), evaluation."""
    specialize(model, masks, packed="always")
    same_task = [example | {"task": "en-fr"} for example in examples]
    trainer = Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(
            output_dir=str(tmp_path),
            **{"max_steps": 2, "use_cpu": True, "remove_unused_columns": False, "report_to": [], "learning_rate": 0.05},
            **{"save_strategy": "no", "disable_tqdm": True, "predict_with_generate": False},
        ),
        train_dataset=same_task,
        eval_dataset=same_task,
        data_collator=TaskCollator(DataCollatorForSeq2Seq(tokenizer), masks),
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    after = trainer.evaluate()["eval_loss"]
    specialize(model, masks, packed="never")
    assert after == pytest.approx(trainer.evaluate()["eval_loss"], abs=1e-4)
    assert after != pytest.approx(before, abs=1e-2)


def test_columns_and_tasks_that_are_not_there_are_refused(masks: NeuronMasks) -> None:
    collate = TaskCollator(lambda rows: {}, masks, column="direction")
    with pytest.raises(
        NeuronspecError, match=r"no column 'direction', only input_ids, task.*remove_unused_columns=False"
    ):
        collate([{"input_ids": [4], "task": "de-en"}])
    with pytest.raises(NeuronspecError, match="no column 'direction'"):
        collate([{"input_ids": [4], "direction": "de-en"}, {"input_ids": [4]}])
    with pytest.raises(NeuronspecError, match=r"no masks for the task 'de-em' \(did you mean 'de-en'"):
        collate([{"input_ids": [4], "direction": "de-en"}, {"input_ids": [4], "direction": "de-em"}])


def test_the_trainer_says_what_to_do_where_it_drops_the_column(
    model: PreTrainedModel,
    masks: NeuronMasks,
    tokenizer: PreTrainedTokenizerFast,
    examples: list[Example],
    tmp_path: Path,
) -> None:
    from datasets import Dataset

    specialize(model, masks)
    trainer, _, _ = make_trainer(
        model, tokenizer, masks, Dataset.from_list(examples), tmp_path, remove_unused_columns=True
    )
    with pytest.raises(NeuronspecError, match="remove_unused_columns=False"):
        trainer.train()


def test_the_inner_collator_never_sees_the_column_and_the_examples_stay(masks: NeuronMasks) -> None:
    seen: list[list[Example]] = []

    def collate(rows: list[Example]) -> dict[str, Any]:
        seen.append(rows)
        return {"ids": torch.tensor([row["id"] for row in rows])}

    examples = [{"id": 4, "task": "sv-de"}, {"id": 5, "task": "de-en"}]
    batch = TaskCollator(collate, masks)(examples)
    assert seen == [[{"id": 4}, {"id": 5}]]
    assert examples[0] == {"id": 4, "task": "sv-de"}
    assert (batch["ids"].tolist(), batch["tasks"].tolist(), batch["tasks"].dtype) == ([4, 5], [2, 0], torch.int64)
