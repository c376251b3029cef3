from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.conftest import FLOAT32
from tests.neurons.test_recording import GATED, TASKS, draw_examples, make_batch, model_and_examples
from tests.neurons.test_recording import Example as Reading
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import ByT5Tokenizer, PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.errors import NeuronspecError
from neuronspec.models.text_batches import make_batches
from neuronspec.neurons.activity import GatedAt
from neuronspec.neurons.example_search import find_examples
from neuronspec.neurons.examples import Examples
from neuronspec.neurons.filenames import EXAMPLES_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.token_display import show_tokens

SmallModel = Callable[..., PreTrainedModel]
Places = dict[str, list[list[tuple[int, int]]]]  # layer -> neuron -> (sentence, position), the best first
Values = dict[str, list[list[float]]]

# With and without a gate, time first, experts.
NAMES = ("m2m_100", "t5", "mt5", "fsmt", "nllb-moe", "opt", "gpt2", "llama")
EVERYTHING = -1e9
pytestmark = pytest.mark.filterwarnings("ignore:this version of transformers sends:neuronspec.errors.NeuronspecWarning")


def expect(
    readings: Sequence[Reading],
    top: int,
    gated_at: GatedAt = "gate",
    threshold: float = 0.0,
    ignore: Sequence[int] = (),
) -> tuple[Places, Values]:
    """Found in plain Python: every neuron, every sentence, every token."""
    places: Places = {}
    values: Values = {}
    for layer in readings[0].neurons[gated_at]:
        found: list[list[tuple[float, int, int]]] = [[] for _ in range(width_of(readings, gated_at, layer))]
        for number, reading in enumerate(readings):
            ids = reading.tokens(layer.partition(".")[0])
            counted = [
                (position, token)
                for position, token in enumerate(reading.neurons[gated_at][layer])
                if token is not None and ids[position] not in ignore
            ]
            for neuron, best in enumerate(found):
                if counted:
                    position, token = max(counted, key=lambda at, neuron=neuron: at[1][neuron])  # type: ignore[misc]
                    if token[neuron] > threshold:
                        best.append((rounded(token[neuron]), number, position))
        ranked = [sorted(best, key=lambda one: (-one[0], one[1]))[:top] for best in found]
        places[layer] = [[(number, position) for _, number, position in best] for best in ranked]
        values[layer] = [[value for value, _, _ in best] for best in ranked]
    return places, values


def width_of(readings: Sequence[Reading], gated_at: GatedAt, layer: str) -> int:
    return next((len(t) for one in readings for t in one.neurons[gated_at][layer] if t is not None), 0)


def rounded(value: float) -> float:
    return float(torch.tensor(value, dtype=torch.float32))


def as_found(examples: Examples) -> tuple[Places, Values]:
    places: Places = {}
    values: Values = {}
    for layer in examples.layers:
        columns = (named[layer].tolist() for named in (examples.sentences, examples.positions, examples.values))
        rows = [[one for one in zip(*row, strict=True) if one[0] >= 0] for row in zip(*columns, strict=True)]
        places[layer] = [[(number, position) for number, position, _ in row] for row in rows]
        values[layer] = [[value for *_, value in row] for row in rows]
    return places, values


def assert_found(examples: Examples, expected: tuple[Places, Values]) -> None:
    places, values = as_found(examples)
    assert places.keys() == expected[0].keys()
    for layer in places:
        # An expert that saw no token has no width in the plain loop.
        assert [row for row in places[layer] if row] == [row for row in expected[0][layer] if row], layer
        assert len(places[layer]) == len(expected[0][layer]) or not any(places[layer])
        flat = ([value for row in named[layer] for value in row] for named in (values, expected[1]))
        torch.testing.assert_close(*map(torch.tensor, flat), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, derandomize=True)
@given(data=st.data())
def test_examples_are_those_of_a_loop_over_sentences_whatever_the_batches(
    name: str, small_model: SmallModel, data: st.DataObject
) -> None:
    model, readings = model_and_examples(name, small_model)
    gated_at: GatedAt = data.draw(st.sampled_from(["gate", "product"]) if name in GATED else st.just("gate"))
    # Some sentences twice: they tie, but where float32 computes them a little differently in another batch.
    numbered = st.sampled_from(range(len(readings)))
    order = data.draw(st.lists(numbered, min_size=1, max_size=14, unique=name in FLOAT32), "order")
    top = data.draw(st.sampled_from([1, 2, 5, 20]), "top")
    threshold = data.draw(st.sampled_from([0.0, 0.3, -0.05, EVERYTHING]), "threshold")
    ignore = data.draw(st.sampled_from([(), tuple(readings[0].source), tuple(range(4, 16))]), "ignore")
    numbers = data.draw(st.booleans(), "numbers")
    rest, batches = [readings[number] for number in order], []
    while rest:
        size, extra = data.draw(st.integers(1, 6), "batch size"), data.draw(st.integers(0, 3), "extra padding")
        left = data.draw(st.booleans(), "left")
        batches.append(make_batch(rest[:size], extra, left, numbers))
        rest = rest[size:]
    given_tasks = TASKS if numbers else None
    examples = find_examples(
        model, batches, top, threshold=threshold, gated_at=gated_at, ignore=ignore, tasks=given_tasks
    )
    read = [readings[number] for number in order]
    assert_found(examples, expect(read, top, gated_at, threshold, ignore))
    assert_kept(examples, read)


def assert_kept(examples: Examples, read: Sequence[Reading]) -> None:
    """The sentences that are an example are kept, no others, with their tasks and both sides."""
    used = {number for rows in as_found(examples)[0].values() for row in rows for number, _ in row}
    assert examples.numbers.tolist() == sorted(used)
    assert [examples.tasks[row] for row in examples.sentence_tasks] == [read[number].task for number in sorted(used)]
    for stack, tokens in examples.tokens.items():
        sides = [read[number].tokens(stack) for number in sorted(used)]
        assert examples.lengths[stack].tolist() == [len(side) for side in sides]
        assert tokens.tolist() == [number for side in sides for number in side]


def test_the_plain_loop_sees_something(small_model: SmallModel) -> None:
    for name in NAMES:
        _, readings = model_and_examples(name, small_model)
        places = expect(readings, 3)[0]
        assert len({place for rows in places.values() for row in rows for place in row}) > 20
        assert any(len(row) == 3 for rows in places.values() for row in rows)


@pytest.mark.parametrize("name", ["m2m_100", "llama"])
def test_of_equal_activations_the_sentence_that_was_read_first_comes_first(name: str, small_model: SmallModel) -> None:
    model, readings = model_and_examples(name, small_model)
    twelve = [readings[0]] * 12
    for size in (1, 5, 12):
        batches = [make_batch(twelve[start : start + size], 1) for start in range(0, 12, size)]
        examples = find_examples(model, batches, 3, threshold=EVERYTHING)
        assert all((named == torch.tensor([0, 1, 2])).all() for named in examples.sentences.values())
        assert examples.numbers.tolist() == [0, 1, 2]


def test_of_a_negative_and_a_positive_zero_the_first_comes_first(small_model: SmallModel) -> None:
    model, readings = model_and_examples("llama", small_model)
    gate = model.model.layers[0].mlp.act_fn
    zeros = iter([-0.0, 0.0, -0.0])
    handle = gate.register_forward_hook(lambda module, arguments, output: torch.full_like(output, next(zeros)))
    examples = find_examples(model, [make_batch([row]) for row in readings[:3]], 2, threshold=-1.0)
    handle.remove()
    assert (examples.sentences["decoder.0"] == torch.tensor([0, 1])).all()


def test_where_there_are_fewer_there_is_nothing(small_model: SmallModel) -> None:
    model, readings = model_and_examples("m2m_100", small_model)
    examples = find_examples(model, [make_batch(readings[:3])], 5, threshold=EVERYTHING)
    for layer in examples.layers:
        assert examples.values[layer].dtype == torch.float32
        assert examples.values[layer][:, :3].isfinite().all()
        assert examples.values[layer][:, 3:].isnan().all()
        for named in (examples.sentences, examples.positions):
            assert named[layer].dtype == torch.int64
            assert (named[layer][:, :3] >= 0).all()
            assert (named[layer][:, 3:] == -1).all()
    assert len(examples.values["decoder.0"]) == 40


def test_what_no_sentence_activates_has_no_examples(small_model: SmallModel, tmp_path: Path) -> None:
    model, readings = model_and_examples("m2m_100", small_model)
    for options in ({"threshold": 1e9}, {"ignore": range(48)}):
        examples = find_examples(model, [make_batch(readings)], **options)
        loaded = Examples.load(examples.save(tmp_path))
        for one in (examples, loaded):
            assert one.numbers.tolist() == one.tokens["encoder"].tolist() == []
            assert not any(row for rows in as_found(one)[0].values() for row in rows)


def test_a_model_in_bfloat16_has_examples_too(small_model: SmallModel) -> None:
    model, readings = model_and_examples("m2m_100", small_model)
    examples = find_examples(small_model().to(torch.bfloat16), [make_batch(readings)], 2)
    exact = find_examples(model, [make_batch(readings)], 2)
    for layer in examples.layers:
        torch.testing.assert_close(examples.values[layer], exact.values[layer], rtol=0.2, atol=0.2, equal_nan=True)


def test_the_decoder_is_shown_what_it_reads_of_labels(
    small_model: SmallModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = small_model(vocab_size=len(tokenizer))
    pairs = {"de-en": [("ab cd", "ef"), ("gh", "ij kl")], "en-fr": [("mn", "op")]}
    examples = find_examples(model, make_batches(model, tokenizer, pairs), 2, threshold=EVERYTHING)
    for stack, begin, end in (("encoder", ["__de__"], ["</s>"]), ("decoder", ["</s>", "__en__"], [])):
        shown = [example for n in range(24) for example in examples.show(f"{stack}.1", n, tokenizer)]
        of_task = [example for example in shown if example.task == "de-en"]
        assert of_task
        for example in of_task:
            assert example.tokens[: len(begin)] == begin
            assert example.tokens[len(example.tokens) - len(end) :] == end
        texts = {"".join(one.tokens).replace("▁", " ") for one in of_task}
        sides = [pair[stack == "decoder"] for pair in pairs["de-en"]]
        assert texts <= {"".join([*begin, " ", side, *end]) for side in sides}


def test_a_neuron_is_shown_with_the_token_that_activates_it(
    small_model: SmallModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    model, readings = model_and_examples("gpt2", small_model)
    words = tokenizer.convert_ids_to_tokens(list(range(48)))
    examples = find_examples(model, [make_batch(readings, 1, left=True)], 3)
    places, values = expect(readings, 3)
    for neuron in range(24):
        shown = examples.show("decoder.1", neuron, tokenizer)
        assert [(one.task, one.tokens, one.position) for one in shown] == [
            (readings[number].task, [words[token] for token in readings[number].source], position)
            for number, position in places["decoder.1"][neuron]
        ]
        assert [one.value for one in shown] == pytest.approx(values["decoder.1"][neuron], rel=1e-5)


def test_what_there_is_not_cannot_be_shown(small_model: SmallModel, tokenizer: PreTrainedTokenizerFast) -> None:
    model, readings = model_and_examples("m2m_100", small_model)
    examples = find_examples(model, [make_batch(readings)])
    with pytest.raises(NeuronspecError, match=r"no layer 'encoder.7' \(did you mean 'encoder.1'"):
        examples.show("encoder.7", 0, tokenizer)
    for neuron in (24, -1):
        with pytest.raises(NeuronspecError, match=f"encoder.1 has neurons 0 to 23, not {neuron}"):
            examples.show("encoder.1", neuron, tokenizer)


def test_what_cannot_be_found_is_refused(small_model: SmallModel) -> None:
    model, readings = model_and_examples("m2m_100", small_model)
    batch = make_batch(readings)
    with pytest.raises(NeuronspecError, match="top must be at least 1, not 0"):
        find_examples(model, [batch], 0)
    with pytest.raises(NeuronspecError, match="no batches were given"):
        find_examples(model, [])
    with pytest.raises(NeuronspecError, match="this is one"):
        find_examples(model, batch)  # type: ignore[arg-type]
    with pytest.raises(NeuronspecError, match="gated_at must be gate or product, not 'up'"):
        find_examples(model, [batch], gated_at="up")  # type: ignore[arg-type]
    bare = {key: value for key, value in batch.items() if key != "decoder_input_ids"}
    with pytest.raises(NeuronspecError, match="a batch has no 'decoder_input_ids'"):
        find_examples(model, [bare])
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


@pytest.fixture(scope="module")
def found(small_model: SmallModel) -> Examples:
    model = small_model()
    batch = make_batch(draw_examples("m2m_100", model, 10))
    return find_examples(model, [batch], 4, threshold=0.2, ignore=[5], signature={"model": "abc"})


def assert_same(one: Examples, other: Examples) -> None:
    assert (one.tasks, one.top, one.layers, one.signature) == (other.tasks, other.top, other.layers, other.signature)
    for name in ("values", "sentences", "positions", "lengths", "tokens"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.keys() == theirs.keys()
        for key in ours:
            torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(one.numbers, other.numbers)
    assert torch.equal(one.sentence_tasks, other.sentence_tasks)


def test_comes_back_as_it_was_saved(found: Examples, tmp_path: Path) -> None:
    assert found.signature == {"model": "abc", "threshold": "0.2", "ignored": "5"}
    path = found.save(tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / EXAMPLES_FILE
    for source in (path, path.parent, str(path)):
        assert_same(Examples.load(source), found)


@pytest.mark.parametrize("name", ["llama", "nllb-moe"])
def test_what_was_found_comes_back(name: str, small_model: SmallModel, tmp_path: Path) -> None:
    model = small_model(name, **({"num_experts": 4} if name == "nllb-moe" else {}))
    batch = make_batch(draw_examples(name, model, 4, longest=3))
    examples = find_examples(model, [batch], gated_at="product")
    assert ("gated_at" in examples.signature) == (name == "llama")
    assert_same(Examples.load(examples.save(tmp_path)), examples)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=f"{EXAMPLES_FILE} does not exist: expected examples"):
        Examples.load(tmp_path)
    path = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 0]}}).save_pretrained(tmp_path)
    with pytest.raises(NeuronspecError, match="holds no examples"):
        Examples.load(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("values.encoder.0", lambda t: t.double()),
        ("values.encoder.0", lambda t: t[:, :3].clone()),
        ("values.encoder.0", lambda t: t.nan_to_num(0.5)),
        ("sentences.encoder.0", lambda t: t[:-1].clone()),
        ("sentences.encoder.0", lambda t: t + 1),
        ("sentences.encoder.0", lambda t: t.where(t >= 0, -2)),
        ("positions.encoder.0", lambda t: t + 1),
        ("positions.decoder.1", lambda t: t.where(t < 0, 99)),
        ("positions.decoder.1", lambda t: t.int()),
        ("numbers", lambda t: t.flip(0)),
        ("numbers", lambda t: t[None]),
        ("sentence_tasks", lambda t: t + 3),
        ("sentence_tasks", lambda t: t - 3),
        ("sentence_tasks", lambda t: t[1:].clone()),
        ("lengths.encoder", lambda t: t + 1),
        ("lengths.encoder", lambda t: torch.cat([t[:1] + 100, t[1:2] - 100, t[2:]])),
        ("lengths.encoder", lambda t: torch.cat([t[:4] + 2**62, t[4:]])),  # the sum is the same, beyond int64
        ("tokens.encoder", lambda t: t[:-1].clone()),
        ("tokens.encoder", lambda t: -t),
        ("tokens.decoder", lambda t: t.long()),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(
    name: str, change: Callable[[torch.Tensor], torch.Tensor], found: Examples, tmp_path: Path
) -> None:
    path = found.save(tmp_path)
    tensors, header = load_file(path), header_of(found)
    save_file(tensors, path, {"neuronspec": json.dumps(header)})
    assert_same(Examples.load(path), found)  # it is the change that is refused
    save_file(tensors | {name: change(tensors[name])}, path, {"neuronspec": json.dumps(header)})
    with pytest.raises(NeuronspecError, match=f"{EXAMPLES_FILE}: it is damaged"):
        Examples.load(path)


def header_of(examples: Examples) -> dict[str, Any]:
    return {
        "tasks": examples.tasks,
        "layers": examples.layers,
        "top": examples.top,
        "signature": dict(examples.signature),
    }


WRONG: list[Any] = [None, 1.5, "x", [[]], {}]


@pytest.mark.parametrize(
    "changes",
    [
        *({name: wrong} for name in ("tasks", "layers", "top", "signature") for wrong in WRONG),
        *({"top": wrong} for wrong in (3, 10**400, True, [4])),
        *({"layers": wrong} for wrong in (["encoder.9"], [""], ["encoder.0", 3])),
        {"tasks": ["de-en"]},
    ],
)
def test_headers_that_are_mangled_are_refused(changes: dict[str, Any], found: Examples, tmp_path: Path) -> None:
    path = found.save(tmp_path)
    save_file(load_file(path), path, {"neuronspec": json.dumps(header_of(found) | changes)})
    if changes == {"signature": {}}:
        assert_same(Examples.load(path), replace(found, signature={}))
        return
    with pytest.raises(NeuronspecError, match=EXAMPLES_FILE):
        Examples.load(path)


def test_damaged_bytes_are_refused_and_never_crash(
    found: Examples, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path = found.save(tmp_path)
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
            examples = Examples.load(path)
            if "encoder.0" in examples.layers:
                examples.show("encoder.0", 0, tokenizer)
        except NeuronspecError as error:
            message = str(error)
            refused += 1
        assert str(path) in message or "tokenizer" in message or len(damaged) == len(whole)
    assert refused > 100


@pytest.fixture(scope="module")
def byte_level() -> PreTrainedTokenizerFast:
    """A tokenizer as GPT-2 and LLaMA-3 have it, with parts of characters in its vocabulary."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|fin é|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    inner.train_from_iterator(["das Wörterbuch, the dictionary", "字典 你好 😀"] * 5, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def test_tokens_of_sentencepiece_are_named_as_they_are(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("__de__ abc défg")["input_ids"]
    assert show_tokens(tokenizer, ids) == tokenizer.convert_ids_to_tokens(ids)


def test_tokens_of_byte_level_tokenizers_can_be_read(byte_level: PreTrainedTokenizerFast) -> None:
    ids = byte_level("the Wört")["input_ids"]
    assert "Ã" in "".join(byte_level.convert_ids_to_tokens(ids)), "it is no mojibake: proves nothing"
    assert "".join(show_tokens(byte_level, ids)).replace("<0xC3>", "") == "the Wört"
    special = byte_level.convert_tokens_to_ids("<|fin é|>")
    assert show_tokens(byte_level, [special, *byte_level("ü<|fin é|>")["input_ids"]]) == [
        *("<|fin é|>", "<0xC3>", "ü", "<|fin é|>")
    ]
    half = byte_level("ü")["input_ids"][0]  # a character that never ends
    assert show_tokens(byte_level, [half, special, *byte_level("a")["input_ids"]]) == ["<0xC3>", "<|fin é|>", "a"]


@settings(max_examples=100, derandomize=True)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=30))
def test_whole_characters_come_back_from_bytes(text: str, byte_level: PreTrainedTokenizerFast) -> None:
    for tokenizer in (byte_level, ByT5Tokenizer()):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        tokens = show_tokens(tokenizer, ids)
        assert len(tokens) == len(ids)
        assert all(tokens)
        assert "".join(token for token in tokens if not token.startswith("<0x")) == text


def test_a_tokenizer_that_lacks_a_token_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(NeuronspecError, match="the tokenizer has no token 5000"):
        show_tokens(tokenizer, [4, 5000])
