import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from neuronspec.data.batches import IGNORED, BatchDataset, TaskData, Tensors, collate, pad
from neuronspec.data.sampling import Batch, BatchSampler, Cursor
from neuronspec.data.store import Encode, build_store
from neuronspec.data.task_format import TaskFormat, special_ids

PAD, EOS, START = 1, 2, 3
BARE = TaskFormat(source_suffix=(EOS,), target_suffix=(EOS,), start=START, pad=PAD)
BOTH = replace(BARE, source_prefix=(40,), target_prefix=(41,), tags=(40, 41))
FORMATS = {"both": BOTH, "source only": replace(BOTH, target_prefix=()), "bare": BARE}

ids = st.lists(st.integers(4, 39), max_size=7)


def encode(sentences: list[str]) -> list[list[int]]:
    return [[int(word) for word in sentence.split()] for sentence in sentences]


def make_encoder() -> Encode:
    return encode


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> BatchDataset:
    """Three tasks over two pairs of languages: `en-de` and `de-en` read the same pair, `fr-en` has extra tags."""
    directory = tmp_path_factory.mktemp("batches")
    draw = np.random.default_rng(0)
    texts: dict[str, Path] = {}
    for pair, size in (("en-de", 70), ("en-fr", 20)):
        texts[pair] = directory / pair
        sides = [[" ".join(map(str, draw.integers(4, 40, draw.integers(1, 12)))) for _ in "ab"] for _ in range(size)]
        texts[pair].write_text("".join("\t".join(line) + "\n" for line in sides))
    tasks = [
        TaskData("en-de", "en-de", 0, BOTH),
        TaskData("de-en", "en-de", 1, replace(BOTH, source_prefix=(41,), target_prefix=(40,))),
        TaskData("fr-en", "en-fr", 1, replace(BOTH, source_prefix=(42, 43), target_prefix=())),
    ]
    return BatchDataset(build_store(directory / "store", texts, make_encoder, 50), tasks)


def make_sampler(dataset: BatchDataset, seed: int = 0) -> BatchSampler:
    return BatchSampler(dataset.lengths(), temperature=2, tokens_per_batch=60, seed=seed)


def unpad(row: torch.Tensor, value: int) -> list[int]:
    tokens: list[int] = row.tolist()
    while tokens and tokens[-1] == value:
        tokens.pop()
    return tokens


def same(left: Tensors, right: Tensors) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("kind", "source", "decoder_input", "labels", "prompt"),
    [
        ("both", [40, 7, 8, EOS], [START, 41, 9], [41, 9, EOS], [START, 41]),
        ("source only", [40, 7, 8, EOS], [START, 9], [9, EOS], [START]),
        ("bare", [7, 8, EOS], [START, 9], [9, EOS], [START]),
    ],
)
def test_tags_and_ends_stand_where_the_format_says(
    kind: str, source: list[int], decoder_input: list[int], labels: list[int], prompt: list[int]
) -> None:
    form = FORMATS[kind]
    assert form.source([7, 8]) == source
    assert form.decoder_input([9]) == decoder_input
    assert form.labels([9]) == labels
    assert form.decoding_start == prompt
    assert form.overhead == (len(source) - 2, len(labels) - 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(sorted(FORMATS)), ids, ids), min_size=1, max_size=6))
@settings(max_examples=60)
def test_every_row_of_a_batch_can_be_read_back(examples: list[tuple[int, str, list[int], list[int]]]) -> None:
    batch = collate([(number, FORMATS[kind], source, target) for number, kind, source, target in examples])
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert batch["tasks"].tolist() == [number for number, *_ in examples]
    for side in ("", "decoder_"):
        assert torch.equal(batch[f"{side}attention_mask"], (batch[f"{side}input_ids"] != PAD).long())
    for row, (_, kind, source, target) in enumerate(examples):
        form = FORMATS[kind]
        assert unpad(batch["input_ids"][row], PAD) == [*form.source_prefix, *source, EOS]
        labels = unpad(batch["labels"][row], IGNORED)
        assert labels == [*form.target_prefix, *target, EOS]
        assert unpad(batch["decoder_input_ids"][row], PAD) == [START, *labels[:-1]]  # what was said, one step later
    widest = max(len(FORMATS[kind].source(source)) for _, kind, source, _ in examples)
    assert batch["input_ids"].shape == (len(examples), widest)
    assert batch["labels"].shape == batch["decoder_input_ids"].shape == batch["decoder_attention_mask"].shape


def test_padding_is_on_the_right() -> None:
    assert pad([[5], [6, 7, 8], []], 0).tolist() == [[5, 0, 0], [6, 7, 8], [0, 0, 0]]


def test_lengths_are_those_of_the_tensors(dataset: BatchDataset) -> None:
    for number, lengths in enumerate(dataset.lengths()):
        assert len(lengths) == (20 if number == 2 else 70)
        for example, (source, target) in enumerate(lengths.tolist()):
            tensors = dataset[Batch(np.array([number]), np.array([example]))]
            assert tensors["input_ids"].shape == (1, source)
            assert tensors["labels"].shape == (1, target)


def test_two_directions_read_one_pair(dataset: BatchDataset) -> None:
    for example in range(5):
        forward, backward = (dataset[Batch(np.array([task]), np.array([example]))] for task in (0, 1))
        assert forward["input_ids"][0, 1:].tolist() == backward["labels"][0, 1:].tolist()
        assert backward["input_ids"][0, 1:].tolist() == forward["labels"][0, 1:].tolist()
        assert forward["input_ids"][0, 0] == backward["labels"][0, 0] == 40


@pytest.mark.parametrize("tokens", [1, 13, 60, 10_000])
def test_in_order_yields_every_example_once_within_the_budget(tokens: int, dataset: BatchDataset) -> None:
    rows = []
    for batch in dataset.in_order(tokens):
        assert len(set(batch["tasks"].tolist())) == 1
        assert len(batch["tasks"]) == 1 or max(batch["input_ids"].numel(), batch["labels"].numel()) <= tokens
        for row, task in enumerate(batch["tasks"].tolist()):
            rows.append((task, unpad(batch["input_ids"][row], PAD), unpad(batch["labels"][row], IGNORED)))
    expected = []
    for number, task in enumerate(dataset.tasks):
        for example in range(dataset.store.pairs[task.pair]):
            sides = [dataset.store.sequence(task.pair, side, example) for side in (0, 1)]
            source, target = sides if task.source_side == 0 else sides[::-1]
            expected.append((number, task.format.source(source), task.format.labels(target)))
    assert sorted(rows) == sorted(expected)
    assert [task for task, *_ in rows] == sorted(task for task, *_ in rows)


@pytest.mark.parametrize("workers", [0, 2])
def test_r2_batches_do_not_depend_on_workers_or_where_training_resumes(workers: int, dataset: BatchDataset) -> None:
    count, skipped = 30, 11
    expected = [dataset[batch] for batch, _ in itertools.islice(make_sampler(dataset).batches(), count)]

    def load(start: Cursor) -> list[Tensors]:
        batches = (batch for batch, _ in make_sampler(dataset).batches(start))
        loader = DataLoader(dataset, sampler=itertools.islice(batches, count), batch_size=None, num_workers=workers)
        return list(loader)

    *_, (_, cursor) = itertools.islice(make_sampler(dataset).batches(), skipped)
    from_start, resumed = load(Cursor()), load(cursor)
    assert len(from_start) == len(resumed) == count
    assert all(itertools.starmap(same, zip(from_start, expected, strict=True)))
    assert all(itertools.starmap(same, zip(resumed, from_start[skipped:], strict=False)))


def test_padding_does_not_change_what_a_model_computes(
    architecture: str, small_model: Callable[[str], PreTrainedModel], dataset: BatchDataset
) -> None:
    model = small_model(architecture)
    batch, _ = next(make_sampler(dataset).batches())
    widths = {len(unpad(row, IGNORED)) for row in dataset[batch]["labels"]}
    assert len(batch) > 2
    assert len(widths) > 1, "no row is padded: the test would prove nothing"

    def losses(batch: Batch) -> torch.Tensor:
        tensors = dataset[batch]
        inputs = {name: tensor for name, tensor in tensors.items() if name not in ("labels", "tasks")}
        with torch.no_grad():
            logits = model(**inputs).logits
        entropies = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), tensors["labels"], ignore_index=IGNORED, reduction="none"
        )
        return entropies.sum(dim=1)

    alone = [losses(Batch(batch.tasks[row : row + 1], batch.examples[row : row + 1])) for row in range(len(batch))]
    torch.testing.assert_close(losses(batch), torch.cat(alone))


def test_in_order_of_one_task_yields_what_belongs_to_it(dataset: BatchDataset) -> None:
    """As recording reads task by task: together, the batches of each are all batches, number 0 included."""
    together = list(dataset.in_order(60))
    by_task = [list(dataset.in_order(60, task)) for task in range(len(dataset.tasks))]
    for number, batches in enumerate(by_task):
        assert {task for batch in batches for task in batch["tasks"].tolist()} == {number}
        assert sum(len(batch["tasks"]) for batch in batches) == dataset.store.pairs[dataset.tasks[number].pair]
    separate = [batch for batches in by_task for batch in batches]
    assert len(separate) == len(together)
    assert all(itertools.starmap(same, zip(separate, together, strict=True)))
    assert list(dataset.in_order(60, len(dataset.tasks))) == []


def test_parts_of_a_text_are_disjoint_and_together_all_of_it(dataset: BatchDataset) -> None:
    def read(part: slice) -> list[tuple[list[int], list[int]]]:
        return [
            (unpad(source, PAD), unpad(target, IGNORED))
            for batch in dataset.in_order(60, 1, part)
            for source, target in zip(batch["input_ids"], batch["labels"], strict=True)
        ]

    task = dataset.tasks[1]
    text = [
        (
            task.format.source(dataset.store.sequence(task.pair, task.source_side, example)),
            task.format.labels(dataset.store.sequence(task.pair, 1 - task.source_side, example)),
        )
        for example in range(dataset.store.pairs[task.pair])
    ]
    assert sorted(read(slice(3))) == sorted(text[:3])
    assert sorted(read(slice(3, None))) == sorted(text[3:])
    assert sorted(read(slice(2, 4))) == sorted(text[2:4])
    assert read(slice(len(text), None)) == []


TAGGED = replace(BOTH, source_prefix=(42, 43), target_prefix=(), tags=(42, 43))


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], []),
        (["tags"], [40, 41, 42, 43]),
        (["end_of_sentence"], [EOS, START]),
        (["end_of_sentence", "tags"], [EOS, START, 40, 41, 42, 43]),
    ],
)
def test_special_ids_are_those_that_the_formats_add(kinds: list[str], expected: list[int]) -> None:
    assert special_ids([BOTH, TAGGED, BARE, BOTH], kinds) == expected
    assert special_ids((form for form in (TAGGED, BOTH)), kinds) == expected
    assert special_ids([], kinds) == []


@given(st.sampled_from(sorted(FORMATS)), ids, ids)
@settings(max_examples=40)
def test_without_its_special_ids_a_batch_is_its_text(kind: str, source: list[int], target: list[int]) -> None:
    form = FORMATS[kind]
    special = special_ids([form], ["tags", "end_of_sentence"])
    batch = collate([(0, form, source, target)])
    for name, text in (("input_ids", source), ("decoder_input_ids", target)):
        assert [number for number in batch[name][0].tolist() if number not in special] == text
