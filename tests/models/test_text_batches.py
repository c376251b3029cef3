"""From plain text to batches: as the pipeline makes them of the same text, whatever stands in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from neuronspec.data.batches import IGNORED, BatchDataset, TaskData
from neuronspec.data.store import build_store
from neuronspec.errors import NeuronspecError
from neuronspec.models.codec import TextCodec
from neuronspec.models.encoding import encode
from neuronspec.models.tags import tag_id
from neuronspec.models.text_batches import make_batches
from neuronspec.neurons.activity import Unit
from neuronspec.neurons.recording import record_activations

Build = Callable[..., PreTrainedModel]

PAIRS = {
    "de-en": [("abc def", "gh"), ("a", "bcd efg hij klm"), ("mno pab cde", "f"), ("lop", "ponm"), ("b", "c")],
    "en-fr": [("cab", "deaf bead"), ("kip nok", "mal"), ("ponm lkji hgfe", "dcba")],
}
TEXTS = {"de": ["abc def ghi", "a", "mnop"], "sv": ["bed", "fade cab kilo mop"]}
# What looks like special tokens and tags, of several families of models.
HOSTILE = ["</s>", "<s>", "<pad>", "<unk>", "__de__", "__en__ a", "a </s> b", "a<s>b</s>", "</s></s> __fr__"]


@pytest.fixture(scope="module")
def translator(small_model: Build, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return small_model("m2m_100", vocab_size=len(tokenizer))


@pytest.fixture(scope="module")
def reader(small_model: Build, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A decoder-only model."""
    return small_model("llama", vocab_size=len(tokenizer))


def list_rows(batches: Iterator[dict[str, Any]]) -> list[tuple[str, list[int]]]:
    """Return the task and the real tokens of every row, padding cut off by the mask."""
    return [
        (task, ids[mask.bool()].tolist())
        for batch in batches
        for task, ids, mask in zip(batch["tasks"], batch["input_ids"], batch["attention_mask"], strict=True)
    ]


@pytest.mark.parametrize("tokens", [1, 20, 45, 8_192])
def test_batches_are_those_that_the_pipeline_makes_of_the_same_pairs(
    translator: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, tokens: int
) -> None:
    paths = {}
    for task, pairs in PAIRS.items():
        paths[task] = tmp_path / task
        paths[task].write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    store = build_store(
        tmp_path / "store", paths, lambda: lambda lines: encode(tokenizer, "source", lines), len(tokenizer)
    )
    tasks = [TaskData(task, task, 0, TextCodec(tokenizer, translator.config).format(task)) for task in PAIRS]
    expected = list(BatchDataset(store, tasks).in_order(tokens))
    made = list(make_batches(translator, tokenizer, PAIRS, tokens_per_batch=tokens))
    assert len(made) == len(expected)
    for mine, theirs in zip(made, expected, strict=True):
        assert mine.pop("tasks") == [tasks[number].name for number in theirs.pop("tasks").tolist()]
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_each_row_has_the_tags_of_its_task(translator: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    seen = 0
    for batch in make_batches(translator, tokenizer, PAIRS, tokens_per_batch=30):
        assert len(set(batch["tasks"])) == 1
        source, target = (tag_id(language, tokenizer) for language in batch["tasks"][0].split("-"))
        assert set(batch["input_ids"][:, 0].tolist()) == {source}
        assert batch["decoder_input_ids"][:, :2].tolist() == [[2, target]] * len(batch["tasks"])
        assert set(batch["labels"][:, 0].tolist()) == {target}
        seen += len(batch["tasks"])
    assert seen == sum(map(len, PAIRS.values()))


def test_padding_is_masked_and_nothing_else_is(
    translator: PreTrainedModel, reader: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    padded = 0
    for model, texts in ((translator, PAIRS), (reader, TEXTS)):
        for batch in make_batches(model, tokenizer, texts):
            for prefix in ("", "decoder_") if model is translator else ("",):
                ids, mask = batch[f"{prefix}input_ids"], batch[f"{prefix}attention_mask"]
                assert ids.shape == mask.shape
                assert torch.equal(mask, ids.ne(tokenizer.pad_token_id).long())
                assert mask.any(0).all()  # no wider than its longest row
                padded += int((mask == 0).sum())
    assert padded


def test_texts_come_as_the_tokenizer_dresses_them(reader: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    rows = list_rows(make_batches(reader, tokenizer, TEXTS))
    assert sorted(rows) == sorted((task, tokenizer(text)["input_ids"]) for task in TEXTS for text in TEXTS[task])
    assert all(ids[-1] == tokenizer.eos_token_id for _, ids in rows)


@pytest.mark.parametrize("tokens", [1, 9, 30, 8_192])
def test_batches_keep_to_the_budget_and_come_task_by_task_short_texts_first(
    reader: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tokens: int
) -> None:
    batches = list(make_batches(reader, tokenizer, TEXTS, tokens_per_batch=tokens))
    for batch in batches:
        assert len(batch["tasks"]) == 1 or batch["input_ids"].numel() <= tokens
    rows = list_rows(iter(batches))
    assert [task for task, _ in rows] == ["de"] * 3 + ["sv"] * 2
    for task in TEXTS:
        lengths = [len(ids) for name, ids in rows if name == task]
        assert lengths == sorted(lengths)


def test_what_is_too_long_is_cut_left_out_or_refused_and_said_once(
    translator: PreTrainedModel,
    reader: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    caplog: pytest.LogCaptureFixture,
) -> None:
    short, long = ("ab", "cd"), "abc def ghi jkl mno"
    widths = [len(tokenizer(side)["input_ids"]) + 1 for side in ("ab", "cd")]  # with a tag
    exact = max(widths)
    for pair in ((long, "a"), ("a", long), (long, long)):
        texts = {"de-en": [pair, short, pair]}
        caplog.clear()
        cut = list(make_batches(translator, tokenizer, texts, max_tokens=exact))
        said = f"the text of de-en: 2 of 3 are longer than {exact} tokens, the most that are read (lines 1, 3)"
        assert [record.message for record in caplog.records] == [f"{said}: cut to that length"]
        assert sum(len(batch["tasks"]) for batch in cut) == 3
        for batch in cut:
            for name in ("input_ids", "labels"):
                assert batch[name].shape[1] <= exact
                padding = tokenizer.pad_token_id if name == "input_ids" else IGNORED
                ends = [row[row != padding][-1] for row in batch[name]]
                assert all(end == tokenizer.eos_token_id for end in ends)  # the text is cut, not its end token
        with pytest.raises(NeuronspecError, match=r"2 of 3 .*\(lines 1, 3\): shorten them"):
            list(make_batches(translator, tokenizer, texts, max_tokens=exact, too_long="error"))
        made = list(make_batches(translator, tokenizer, texts, max_tokens=exact, too_long="skip"))
        assert [len(batch["tasks"]) for batch in made] == [1]
        assert made[0]["input_ids"].tolist() == [[tag_id("de", tokenizer), *tokenizer("ab")["input_ids"]]]
    rows = list_rows(make_batches(reader, tokenizer, {"de": [long, "ab"]}, max_tokens=5))
    whole = tokenizer(long)["input_ids"]
    assert len(whole) > 5
    assert sorted(rows) == sorted([("de", whole[:5]), ("de", tokenizer("ab")["input_ids"][:5])])


def test_a_task_of_which_every_pair_is_too_long_is_not_lost_in_silence(
    translator: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = {"de-en": [("ab", "cd")], "en-de": [("abc def ghi jkl mno pon", "mlk jih gfe dcb a")]}
    with pytest.raises(NeuronspecError, match="en-de"):
        list(make_batches(translator, tokenizer, texts, max_tokens=10, too_long="skip"))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_text_that_looks_like_special_tokens_stays_text(
    translator: PreTrainedModel, reader: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, hostile: str
) -> None:
    special = {*range(3), *(tag_id(language, tokenizer) for language in ("de", "en", "fr", "sv"))}
    batch = next(make_batches(translator, tokenizer, {"de-en": [(hostile, hostile)]}))
    source, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    for ids, language in ((source, "de"), (labels, "en")):
        assert (ids[0], ids[-1]) == (tag_id(language, tokenizer), 2)
        assert not special & set(ids[1:-1])
    (ids,) = next(make_batches(reader, tokenizer, {"de": [hostile]}))["input_ids"].tolist()
    assert ids[-1] == 2
    assert not special & set(ids[:-1])


def test_other_makers_special_tokens_stay_text_too(reader: PreTrainedModel) -> None:
    """A byte-level tokenizer as decoder-only models have it: a start token, no padding, no end."""
    letters = {letter: number for number, letter in enumerate("<|>abcdegintxofuh_ /sĠ", start=2)}
    inner = Tokenizer(models.BPE({"<|begin|>": 0, "<|end|>": 1, **letters}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<|begin|>", eos_token="<|end|>")
    assert tokenizer.pad_token_id is None
    assert 1 in tokenizer("a<|end|>b")["input_ids"], "it would not be taken for the token: proves nothing"
    batch = next(make_batches(reader, tokenizer, {"de": ["a<|end|>b<|begin|>", "ab"]}))
    assert batch["attention_mask"].sum(1).tolist() == [3, 19]
    rows = list_rows(iter([batch]))
    assert rows[0] == ("de", [0, letters["a"], letters["b"]])
    assert rows[1] == ("de", [0, *(letters[letter] for letter in "a<|end|>b<|begin|>")])


@pytest.mark.parametrize("unit", ["sentence", "token"])
@pytest.mark.parametrize("kind", ["translator", "reader"])
def test_r5_counts_of_batches_are_those_of_a_naive_loop(
    unit: Unit, kind: str, request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast
) -> None:
    model: PreTrainedModel = request.getfixturevalue(kind)
    texts: Any = PAIRS if kind == "translator" else TEXTS
    counts = record_activations(model, make_batches(model, tokenizer, texts, tokens_per_batch=40), unit)
    assert counts.tasks == tuple(texts)
    layer, activation = "decoder.1", "decoder.layers.1.activation_fn" if kind == "translator" else "layers.1.mlp.act_fn"
    module = model.model.get_submodule(activation)
    seen: list[torch.Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0]))
    expected = torch.zeros_like(counts.values[layer])
    tokens = torch.zeros(len(texts), dtype=torch.int64)
    for number, (task, given) in enumerate(texts.items()):
        for text in given:  # one at a time: nothing is padded
            inputs = dress_by_hand(tokenizer, task, text)
            with torch.no_grad():
                model(**inputs, use_cache=False)
            active = seen[-1] > 0  # (seq, d_ff)
            expected[number] += active.any(0) if unit == "sentence" else active.sum(0)
            tokens[number] += 1 if unit == "sentence" else len(active)
            seen.clear()
    handle.remove()
    assert torch.equal(counts.values[layer], expected)
    assert torch.equal(counts.totals["decoder"], tokens)


def dress_by_hand(tokenizer: PreTrainedTokenizerBase, task: str, text: str | tuple[str, str]) -> dict[str, Any]:
    if isinstance(text, str):
        return {"input_ids": torch.tensor([tokenizer(text)["input_ids"]])}
    source, target = (f"__{language}__ {side}" for language, side in zip(task.split("-"), text, strict=True))
    said = tokenizer(target)["input_ids"]
    return {
        "input_ids": torch.tensor([tokenizer(source)["input_ids"]]),
        "decoder_input_ids": torch.tensor([[2, *said[:-1]]]),
    }


@pytest.mark.parametrize(
    ("kind", "texts", "message"),
    [
        ("translator", {"de-en": []}, "there is no text for the task de-en"),
        ("reader", {"de": []}, "there is no text for the task de"),
        ("translator", {"de-en": ["ab"]}, r"de-en: a m2m_100 model reads \(source, target\) pairs, not 'ab'"),
        ("translator", {"de-en": [("ab", "cd"), "ef"]}, r"reads \(source, target\) pairs, not 'ef' \(number 2\)"),
        ("translator", {"de-en": [("ab", "cd", "ef")]}, r"reads \(source, target\) pairs, not \('ab', 'cd', 'ef'\)"),
        ("translator", {"de-en": [("ab", None)]}, r"reads \(source, target\) pairs, not \('ab', None\)"),
        ("reader", {"de": ["ab", None]}, r"reads texts, not None \(number 2\)"),
        ("reader", {"de": "abc"}, "there is no text for the task de: give a list of texts, not 'abc'"),
        ("reader", {"de": [("ab", "cd")]}, r"de: a llama model reads texts, not \('ab', 'cd'\)"),
        ("translator", {"de-pl": [("ab", "cd")]}, "no tag for Polish"),
        ("translator", {"xx-en": [("ab", "cd")]}, "no tag for xx"),
        ("translator", {"german": [("ab", "cd")]}, "german"),
    ],
)
def test_what_a_model_cannot_read_is_refused(
    kind: str, texts: Any, message: str, request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(NeuronspecError, match=message):
        list(make_batches(request.getfixturevalue(kind), tokenizer, texts))


def test_no_texts_give_no_batches(translator: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    assert list(make_batches(translator, tokenizer, {})) == []
    with pytest.raises(NeuronspecError, match="nothing to record from"):
        record_activations(translator, make_batches(translator, tokenizer, {}))


def test_options_that_cannot_be_kept_are_refused(
    translator: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(NeuronspecError, match=r"too_long is 'drop'; expected one of cut, skip, error"):
        next(make_batches(translator, tokenizer, PAIRS, too_long="drop"))  # type: ignore[arg-type]
    with pytest.raises(NeuronspecError, match="no token of text fits into max_tokens=2 next to the 2 that stand"):
        next(make_batches(translator, tokenizer, PAIRS, max_tokens=2))
    (batch,) = make_batches(translator, tokenizer, {"de-en": (pair for pair in PAIRS["de-en"])})  # type: ignore[dict-item]
    assert len(batch["tasks"]) == len(PAIRS["de-en"])


def test_a_token_without_an_embedding_is_refused(small_model: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    few = len(tokenizer) // 2
    translator, reader = small_model("m2m_100", vocab_size=few), small_model("llama", vocab_size=few)
    with pytest.raises(NeuronspecError, match=f"the model has embeddings for {few} tokens, .*resize_token_embeddings"):
        list(make_batches(translator, tokenizer, PAIRS))
    with pytest.raises(NeuronspecError, match=f"the model has embeddings for {few} tokens, .*resize_token_embeddings"):
        list(make_batches(reader, tokenizer, TEXTS))
