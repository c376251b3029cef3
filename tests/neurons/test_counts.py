from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.activity import Unit
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import COUNTS_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture
def counts() -> ActivationCounts:
    return ActivationCounts(
        tasks=("de-en", "en-fr"),
        values={
            "encoder.0": torch.tensor([[4, 0, 1], [2**60, 3, 2]]),
            "decoder.0": torch.tensor([[2, 1], [0, 5]]),
        },
        totals={"encoder": torch.tensor([4, 2**61]), "decoder": torch.tensor([4, 0])},
        unit="token",
        signature={"model": "abc", "threshold": "0.0"},
    )


def test_comes_back_as_it_was_saved(counts: ActivationCounts, tmp_path: Path) -> None:
    path = counts.save(tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / COUNTS_FILE
    for source in (path, path.parent):
        loaded = ActivationCounts.load(source)
        assert (loaded.tasks, loaded.layers) == (("de-en", "en-fr"), ("encoder.0", "decoder.0"))
        assert (loaded.unit, loaded.signature) == ("token", {"model": "abc", "threshold": "0.0"})
        assert all(torch.equal(loaded.values[layer], counts.values[layer]) for layer in counts.layers)
        assert all(torch.equal(loaded.totals[stack], counts.totals[stack]) for stack in ("encoder", "decoder"))


def test_frequencies_are_shares_of_the_stack_s_total(counts: ActivationCounts) -> None:
    assert counts.frequencies("encoder.0").tolist() == [[1.0, 0.0, 0.25], [0.5, 3 / 2**61, 2 / 2**61]]
    assert counts.frequencies("decoder.0")[0].tolist() == [0.5, 0.25]
    assert counts.frequencies("decoder.0").dtype == torch.float64


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=f"{COUNTS_FILE} does not exist: expected activation counts"):
        ActivationCounts.load(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 0]}}).save_pretrained(tmp_path)
    with pytest.raises(NeuronspecError, match="holds no activation counts: 'layers' is missing"):
        ActivationCounts.load(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(NeuronspecError, match="has no 'neuronspec' entry"):
        ActivationCounts.load(path)


@pytest.mark.parametrize(
    "tensors",
    [
        {"counts.encoder.0": torch.zeros(2, 3), "totals.encoder": torch.zeros(2, dtype=torch.int64)},
        {"counts.encoder.0": torch.zeros(1, 3, dtype=torch.int64), "totals.encoder": torch.zeros(2, dtype=torch.int64)},
        {"counts.encoder.0": torch.zeros(2, 3, dtype=torch.int64), "totals.encoder": torch.zeros(1, dtype=torch.int64)},
    ],
)
def test_tensors_that_do_not_fit_their_header_are_refused(tensors: dict[str, Any], tmp_path: Path) -> None:
    header = {"tasks": ["de-en", "en-fr"], "layers": ["encoder.0"], "unit": "token", "signature": {}}
    save_file(tensors, tmp_path / COUNTS_FILE, {"neuronspec": json.dumps(header)})
    with pytest.raises(NeuronspecError, match=r"is damaged .*: expected int64 rows for 2 tasks"):
        ActivationCounts.load(tmp_path)


def test_damaged_bytes_are_refused_and_never_crash(counts: ActivationCounts, tmp_path: Path) -> None:
    path = counts.save(tmp_path)
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    for case in range(200):
        damaged = bytearray(whole)
        if case % 4 == 0:
            del damaged[draw.randrange(len(damaged)) :]
        else:
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        message = ""
        try:
            ActivationCounts.load(path)
        except NeuronspecError as error:
            message = str(error)
            refused += 1
        assert str(path) in message or len(damaged) == len(whole), "a cut file was taken, or nobody knows which one"
    assert refused > 100


@pytest.fixture
def whole() -> ActivationCounts:
    """Counts with all that may be kept with them."""
    generator = torch.Generator().manual_seed(0)
    widths = {"encoder.0": 11, "encoder.1.expert.0": 8, "decoder.0": 3}
    return ActivationCounts(
        ("de-en", "zh-Hant-en"),
        {layer: torch.randint(9, (2, width), generator=generator) for layer, width in widths.items()},
        {"encoder": torch.tensor([9, 8]), "decoder": torch.tensor([9, 8])},
        "sentence",
        {"model": "abc"},
        {layer: torch.randn(2, width, dtype=torch.float64, generator=generator) for layer, width in widths.items()},
        {
            layer: torch.randint(256, (5, -(-width // 8)), dtype=torch.uint8, generator=generator)
            for layer, width in widths.items()
        },
        torch.tensor([0, 1, 1, 0, 1]),
    )


def assert_same(one: ActivationCounts, other: ActivationCounts) -> None:
    assert (one.tasks, one.layers, one.unit, dict(one.signature)) == (
        other.tasks,
        other.layers,
        other.unit,
        dict(other.signature),
    )
    for name in ("values", "totals", "means", "states"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.keys() == theirs.keys(), name
        assert all(ours[key].dtype == theirs[key].dtype and torch.equal(ours[key], theirs[key]) for key in ours), name
    assert (one.state_tasks is None) == (other.state_tasks is None)
    assert one.state_tasks is None or other.state_tasks is None or torch.equal(one.state_tasks, other.state_tasks)


def test_means_and_states_come_back_too(whole: ActivationCounts, tmp_path: Path) -> None:
    assert_same(ActivationCounts.load(whole.save(tmp_path)), whole)
    bare = replace(whole, means={}, states={}, state_tasks=None)
    assert_same(ActivationCounts.load(bare.save(tmp_path)), bare)  # over the other one


@pytest.mark.filterwarnings("ignore:this version of transformers sends:neuronspec.errors.NeuronspecWarning")
@pytest.mark.parametrize("name", ["m2m_100", "gpt2", "nllb-moe"])
def test_what_was_recorded_comes_back(
    name: str, small_model: SmallModel, small_batch: SmallBatch, tmp_path: Path
) -> None:
    model = small_model(name, **({"num_experts": 4} if name == "nllb-moe" else {}))
    batch: dict[str, Any] = dict(small_batch())
    if not model.config.is_encoder_decoder:
        batch = {key: batch[key] for key in ("input_ids", "attention_mask")}
    counts = record_activations(model, [batch | {"tasks": ["de-en", "en-fr"] * 2}] * 2, means=True, states=True)
    assert_same(ActivationCounts.load(counts.save(tmp_path)), counts)


def test_counts_of_other_tasks_are_put_together(whole: ActivationCounts, tmp_path: Path) -> None:
    more = replace(whole, tasks=("en-fr",), state_tasks=torch.tensor([0, 0, 0, 0, 0]))
    more = replace(
        more,
        values={layer: values[:1] + 7 for layer, values in whole.values.items()},
        totals={stack: totals[:1] + 1 for stack, totals in whole.totals.items()},
        means={layer: means[1:] for layer, means in whole.means.items()},
    )
    both = ActivationCounts.concatenate([whole, more])
    assert both.tasks == ("de-en", "zh-Hant-en", "en-fr")
    assert (both.layers, both.unit, both.signature) == (whole.layers, whole.unit, whole.signature)
    for layer in whole.layers:
        assert torch.equal(both.values[layer], torch.cat([whole.values[layer], more.values[layer]]))
        assert torch.equal(both.means[layer], torch.cat([whole.means[layer], more.means[layer]]))
        assert torch.equal(both.states[layer], torch.cat([whole.states[layer], more.states[layer]]))
    assert both.totals["decoder"].tolist() == [9, 8, 10]
    assert both.state_tasks is not None
    assert both.state_tasks.tolist() == [0, 1, 1, 0, 1, 2, 2, 2, 2, 2]
    assert_same(ActivationCounts.load(both.save(tmp_path)), both)
    assert_same(ActivationCounts.concatenate([whole]), whole)
    assert whole.tasks == ("de-en", "zh-Hant-en")


def test_recordings_one_by_one_are_the_recording_of_all(small_model: SmallModel, small_batch: SmallBatch) -> None:
    model, tasks = small_model(), ["de-en", "en-fr", "sv-de"]
    batches: list[dict[str, Any]] = [dict(small_batch(seed=n)) | {"tasks": [task] * 4} for n, task in enumerate(tasks)]
    together = record_activations(model, batches, means=True, states=True)
    parts = [record_activations(model, [batch], means=True, states=True) for batch in batches]
    assert_same(ActivationCounts.concatenate(parts), together)


def test_means_and_states_that_only_some_have_are_left_out(whole: ActivationCounts) -> None:
    bare = replace(whole, tasks=("a-b", "c-d"), means={}, states={}, state_tasks=None)
    for parts in ([whole, bare], [bare, whole]):
        both = ActivationCounts.concatenate(parts)
        assert (both.means, both.states, both.state_tasks) == ({}, {}, None)
        assert both.values["decoder.0"].shape == (4, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": "token"},
        {"signature": {"model": "abd"}},
        {"values": {"encoder.0": torch.zeros(2, 11, dtype=torch.int64)}},
    ],
)
def test_counts_that_do_not_belong_together_are_refused(whole: ActivationCounts, changes: dict[str, Any]) -> None:
    other = replace(whole, tasks=("a-b", "c-d"), **changes)
    with pytest.raises(NeuronspecError, match="the counts of a-b, c-d and of de-en, zh-Hant-en do not belong together"):
        ActivationCounts.concatenate([whole, other])


def test_counts_of_another_width_are_refused(whole: ActivationCounts) -> None:
    values = {layer: counts[:, :-1] for layer, counts in whole.values.items()}
    other = replace(whole, tasks=("a-b", "c-d"), values=values, means={}, states={}, state_tasks=None)
    with pytest.raises(NeuronspecError, match="do not belong together"):
        ActivationCounts.concatenate([whole, other])


def test_a_task_may_not_be_in_two_parts(whole: ActivationCounts) -> None:
    with pytest.raises(NeuronspecError, match="a task has counts in more than one part: de-en, zh-Hant-en, x-y, de-en"):
        ActivationCounts.concatenate([whole, replace(whole, tasks=("x-y", "de-en"))])
    with pytest.raises(NeuronspecError, match="there are no counts to put together"):
        ActivationCounts.concatenate([])


def test_on_one_process_the_sum_is_the_counts(whole: ActivationCounts) -> None:
    assert whole.sum_over_processes() is whole


# Both processes see the same sentences; each records its own share, in batches of its own.
RECORD = """
import os
import sys
seed = os.environ.get("RANK", "0")
if os.environ.get("PYTHONHASHSEED") != seed:  # with these two, sets of stacks have different orders
    os.environ["PYTHONHASHSEED"] = seed
    os.execv(sys.executable, [sys.executable, *sys.argv])
from pathlib import Path
import torch
from accelerate import PartialState
from transformers import M2M100Config, M2M100ForConditionalGeneration
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.recording import record_activations

TASKS = ["de-en", "en-fr", "sv-de", "unseen-task"]
config = M2M100Config(
    vocab_size=48, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
    encoder_ffn_dim=24, decoder_ffn_dim=40, max_position_embeddings=64,
)
torch.manual_seed(0)
model = M2M100ForConditionalGeneration(config).double()
draw = torch.Generator().manual_seed(1)
rows = []
for number in range(23):
    lengths = torch.randint(1, 8, (2,), generator=draw).tolist()
    source, target = (torch.randint(4, 48, (length,), generator=draw) for length in lengths)
    rows.append((number % 3, source, target))
state = PartialState(cpu=True)
share = rows[state.process_index :: state.num_processes]


def pad(ids):
    return torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=1)


def batch(rows):
    tasks, source, target = zip(*rows)
    return {
        "tasks": torch.tensor(tasks),
        "input_ids": pad(source), "attention_mask": pad(source).ne(1).long(),
        "decoder_input_ids": pad(target), "decoder_attention_mask": pad(target).ne(1).long(),
    }


def record(rows, size, unit):
    batches = [batch(rows[start : start + size]) for start in range(0, len(rows), size)]
    return record_activations(model, batches, unit, tasks=TASKS, signature={"model": "abc"})


for unit in ("sentence", "token"):
    total = record(share, 3 + 2 * state.process_index, unit).sum_over_processes()
    if state.is_main_process:
        total.save(Path(sys.argv[1]) / "two" / unit)
        record(rows, 4, unit).save(Path(sys.argv[1]) / "one" / unit)
for kept in ({"means": True}, {"states": True}):
    counts = record_activations(model, [batch(share)], tasks=TASKS, **kept)
    try:
        counts.sum_over_processes()
    except NeuronspecError as error:
        print(error)
state.destroy_process_group()
"""


def test_r5_two_processes_count_what_one_does(tmp_path: Path) -> None:
    script = tmp_path / "record.py"
    script.write_text(RECORD)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script, tmp_path],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("means and states are recorded on one process: launch one, or leave them out") == 4
    for unit in get_args(Unit):
        one, two = (ActivationCounts.load(tmp_path / name / unit) for name in ("one", "two"))
        assert_same(two, one)
        assert one.unit == unit
        assert sum(int(values.sum()) for values in one.values.values()) > 0
        assert not any(values[3].any() for values in one.values.values())
    assert one.totals["encoder"].sum() > 23
