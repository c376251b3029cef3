"""Exports for CTranslate2 are served as they were proved, within a limit of memory, and one fails without others."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.exports.families import TASKS, TEXTS, make_encoder_decoder
from tests.translation.talkative_models import make_masks, make_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

import neuronspec as ns
from neuronspec.errors import NeuronspecError
from neuronspec.exports.ct2_usage import USAGE_FILE
from neuronspec.exports.places import EXPORT_FILE
from neuronspec.files import read_json, write_json
from neuronspec.serving import Sentence, UnavailableError
from neuronspec.serving.ct2_engine import CT2Engine
from neuronspec.serving.engine import NotOfferedError

pytest.importorskip("ctranslate2")

FIRST, SECOND = TASKS
WORDS = ["ab cd", "ef gh ij", "kl a", "b c d e f", "p o n m"]
MAX_TOKENS = 12


@pytest.fixture(scope="module")
def exports(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a talkative model."""
    model = make_model("m2m_100", tokenizer)
    return export_all(model, tokenizer, tmp_path_factory.mktemp("exports"), WORDS)


@pytest.fixture
def place(exports: Path, tmp_path: Path) -> Path:
    """A copy of the exports."""
    return Path(shutil.copytree(exports, tmp_path / "exports"))


def export_all(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, place: Path, sentences: Sequence[str]
) -> Path:
    masks = make_masks(model, TASKS)
    for task, given in ((FIRST, masks), (SECOND, masks), (FIRST, None)):
        ns.export(
            model,
            tokenizer,
            given,
            task=task,
            dense=given is None,
            out=place / ("dense" if given is None else task),
            sentences=sentences,
            format="ct2",
            least_chrf=0,
            max_tokens=MAX_TOKENS,
        )
    return place


def make_rows(tasks: Sequence[str] = TASKS, texts: Sequence[str] = WORDS) -> list[Sentence]:
    return [Sentence(text=text, task=task, beams=1) for text in texts for task in tasks]


@pytest.mark.parametrize("family", ["nllb", "marian", "madlad", "mbart-50"])
def test_rows_are_answered_as_the_masked_model_answers_them(family: str, tmp_path: Path) -> None:
    model, tokenizer = make_encoder_decoder(family, tmp_path)
    engine = CT2Engine([export_all(model, tokenizer, tmp_path / "exports", TEXTS)])
    dense = [Sentence(text=text, task=FIRST, beams=1, masked=False) for text in TEXTS]
    rows = [*make_rows(texts=[*TEXTS, " ", "\u200b"]), *dense]
    found = engine.translate(rows)

    # One by one, by the function that users call, with masks and without
    expected = {}
    for masked in (False, True):
        if masked:
            ns.specialize(model, make_masks(model, TASKS))
        for row in rows:
            if row.masked == masked:
                given: dict[str, Any] = {"task": row.task, "beams": 1, "max_tokens": MAX_TOKENS}
                (expected[row],) = ns.translate(model, tokenizer, [row.text], **given)
    assert found == [expected[row] for row in rows]


def test_beams_answer_as_an_export_of_its_own_does(exports: Path) -> None:
    engine = CT2Engine([exports / SECOND])
    rows = [Sentence(text=text, task=SECOND, beams=beams) for text in WORDS for beams in (1, 2, 5)]
    assert engine.translate(rows) == [engine.translate([row])[0] for row in rows]


def test_text_that_looks_like_a_tag_stays_text(exports: Path) -> None:
    engine = CT2Engine([exports])
    row, spaced = (Sentence(text=text, task=FIRST, beams=1) for text in ("a </s> __fr__ b", "a < /s> _ _fr__ b"))
    assert engine.translate([row]) == engine.translate([spaced])
    assert engine.count_tokens([row]) == engine.count_tokens([spaced])


def test_texts_that_are_too_long_can_be_split(exports: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    engine = CT2Engine([exports])
    assert engine.find_longest(FIRST) == (MAX_TOKENS + 1) // 2

    # Into how many tokens a vocabulary splits a text depends on the version of the library that learned it.
    texts = ["", "a b", "a b a b"]
    expected = [len(tokenizer.tokenize(text)) for text in texts]
    assert engine.count_tokens(make_rows([FIRST], texts)) == expected
    assert 0 == expected[0] < expected[1] < expected[2]


def test_the_model_used_longest_ago_is_unloaded(exports: Path) -> None:
    sizes = {name: (exports / name / "model.bin").stat().st_size for name in (FIRST, SECOND, "dense")}
    engine = CT2Engine([exports], memory_limit=sizes[FIRST] + sizes[SECOND])
    models = engine._models
    masked = make_rows(texts=WORDS[:1])
    expected = engine.translate(masked)
    assert models.bytes == sizes[FIRST] + sizes[SECOND]

    # The dense model pushes one of them out, whose next use pushes out another.
    engine.translate([Sentence(text="a", task=FIRST, masked=False)])
    assert sizes["dense"] <= models.bytes <= sizes[FIRST] + sizes[SECOND]
    assert engine.translate(masked) == expected
    assert models.bytes <= sizes[FIRST] + sizes[SECOND]

    # What is in memory is used first, so that each batch loads a model once at most.
    assert engine.translate(masked) == expected
    engine.close()
    assert models.bytes == 0

    with pytest.raises(NeuronspecError, match=r"the memory limit of 0 MiB is less than .*dense takes"):
        CT2Engine([exports], memory_limit=sizes["dense"] - 1)


def test_an_export_that_vanishes_fails_alone_with_one_warning(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = CT2Engine([place])
    shutil.rmtree(place / FIRST)
    for _ in range(2):
        with pytest.raises(UnavailableError, match=f"{FIRST} cannot be translated at the moment: its export in"):
            engine.translate(make_rows([FIRST]))
    with pytest.raises(UnavailableError):
        engine.count_tokens(make_rows([FIRST]))
    assert caplog.text.count("its export in") == 1
    expected = engine.translate(make_rows([SECOND]))

    # What is in memory needs no disk.
    shutil.rmtree(place / SECOND)
    assert engine.translate(make_rows([SECOND])) == expected


@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json", EXPORT_FILE, USAGE_FILE])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00" * 500, b"\x00" * 100])
def test_a_damaged_export_fails_alone_until_it_is_whole_again(
    place: Path, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    engine = CT2Engine([place])
    whole = (place / FIRST / name).read_bytes()
    (place / FIRST / name).write_bytes(content)
    with pytest.raises(UnavailableError, match="cannot be loaded"):
        engine.translate(make_rows([FIRST]))
    assert engine.translate(make_rows([SECOND], WORDS[:1])) != [""]

    (place / FIRST / name).write_bytes(whole)
    assert engine.translate(make_rows([FIRST])) == CT2Engine([place]).translate(make_rows([FIRST]))

    # A new failure is a new warning.
    engine.close()
    (place / FIRST / name).write_bytes(content)
    caplog.clear()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            engine.translate(make_rows([FIRST]))
    assert caplog.text.count("cannot be loaded") == 1


def test_an_export_that_is_replaced_is_read_again(place: Path) -> None:
    engine = CT2Engine([place / FIRST, place / SECOND])
    masked = engine.translate(make_rows([FIRST]))
    dense = CT2Engine([place / "dense"]).translate(make_rows([FIRST]))
    assert masked != dense

    # Another model of the direction: the weights of the dense one, which says that it is masked
    new = place / "new"
    shutil.copytree(place / "dense", new)
    shutil.copy(place / FIRST / EXPORT_FILE, new / EXPORT_FILE)
    (place / FIRST).rename(place / "old")
    assert engine.translate(make_rows([FIRST])) == masked
    new.rename(place / FIRST)
    assert engine.translate(make_rows([FIRST])) == dense

    # An export of another direction is no replacement.
    shutil.rmtree(place / FIRST)
    shutil.copytree(place / SECOND, place / FIRST)
    with pytest.raises(UnavailableError, match=f"another export, of {SECOND}, is in its place"):
        engine.translate(make_rows([FIRST]))


def test_rows_without_masks_need_the_dense_model(exports: Path) -> None:
    engine = CT2Engine([exports])
    assert engine.base_tasks == (FIRST,)
    with pytest.raises(NotOfferedError, match="is translated with its masks only"):
        engine.translate([Sentence(text="a", task=SECOND, masked=False)])

    # A direction that has nothing but the dense model is translated with it.
    alone = CT2Engine([exports / "dense"])
    assert alone.base_tasks == ()
    rows = [Sentence(text="a b", task=FIRST, masked=masked) for masked in (True, False)]
    assert len(set(alone.translate(rows))) == 1


def test_places_without_exports_and_two_of_one_kind_are_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="is no directory: give an export"):
        CT2Engine([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(NeuronspecError, match="holds no export for CTranslate2"):
        CT2Engine([tmp_path / "empty"])

    # The same export in two ways is one; a copy is another.
    assert CT2Engine([place, place / FIRST]).tasks == (FIRST, SECOND)
    shutil.copytree(place / FIRST, tmp_path / "copy")
    with pytest.raises(NeuronspecError, match=f"are both masked exports of {FIRST}: leave one out"):
        CT2Engine([place, tmp_path / "copy"])

    # Exports of other formats are passed over.
    facts = read_json(place / "dense" / EXPORT_FILE)
    write_json(place / "dense" / EXPORT_FILE, facts | {"format": "hf"})
    assert CT2Engine([place]).tasks == (FIRST, SECOND)
    with pytest.raises(NeuronspecError, match="is no export for CTranslate2"):
        CT2Engine([place / "dense"])


def test_what_no_export_says_is_passed_on_to_no_library(place: Path) -> None:
    usage = read_json(place / FIRST / USAGE_FILE)
    usage["search"]["callback"] = "os.system"
    write_json(place / FIRST / USAGE_FILE, usage)
    with pytest.raises(NeuronspecError, match=r"is damaged: search.callback; export the model again"):
        CT2Engine([place])


def test_exports_with_the_same_tokenizer_share_it(exports: Path) -> None:
    engine = CT2Engine([exports])
    engine.translate(make_rows(texts=WORDS[:1]))
    first, second = (model.tokenizer for model in engine._models._loaded.values())
    assert first is second
