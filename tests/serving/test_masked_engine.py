"""The engine of transformers answers each row of a mixed batch as `ns.translate` answers it alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.asking import ask, post
from tests.serving.looping import finish
from tests.translation.talkative_models import make_masks, make_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

import neuronspec as ns
from neuronspec.errors import NeuronspecError
from neuronspec.models.loading import load_model, load_tokenizer, save_model
from neuronspec.serving import Sentence, make_app, open_serving_engine
from neuronspec.serving.masked_engine import MaskedEngine
from neuronspec.serving.system_engine import SystemEngine
from neuronspec.translation.engines import DEFAULT_ENGINE
from neuronspec.translation.system import TranslationSystem

TASKS = ("de-en", "en-fr")
TEXTS = ["ab cd", "ef gh ij", "kl a", "b c d e f", "p o n m", " ", "</s> b"]
MAX_TOKENS = 12


def describe(place: Path, *, dense: bool = False, engine: str = DEFAULT_ENGINE) -> TranslationSystem:
    return TranslationSystem(
        model=str(place),
        masks=None,
        dense=dense,
        pivot="en",
        beams=5,
        engine=engine,
        compute_type="default",
        early_stopping=None,
        too_long="cut",
        source_prefix=None,
    )


@pytest.fixture(scope="module")
def place(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A talkative model with its tokenizer and masks."""
    folder = tmp_path_factory.mktemp("served")
    model = make_model("m2m_100", tokenizer)
    save_model(model, folder / "model", tokenizer)
    make_masks(model, TASKS).save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def engine(place: Path) -> Iterator[MaskedEngine]:
    with open_serving_engine(describe(place)) as opened:
        assert isinstance(opened, MaskedEngine)
        opened._options = opened._options.model_copy(update={"max_tokens": MAX_TOKENS})
        yield opened


@pytest.fixture(scope="module")
def loaded(place: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return load_model(place), load_tokenizer(place)


def list_rows() -> list[Sentence]:
    """Every text in each direction, with and without masks, with different beam sizes."""
    rows = [
        Sentence(text=text, task=task, masked=masked, beams=1 + (number + masked) % 3)
        for number, text in enumerate(TEXTS)
        for task in TASKS
        for masked in (True, False)
    ]
    return rows[::2] + rows[1::2]


def test_rows_of_a_mixed_batch_are_answered_as_alone(
    engine: MaskedEngine, place: Path, loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase]
) -> None:
    rows = list_rows()
    found = engine.translate(rows)
    assert engine.tasks == TASKS

    # One by one, by the function that users call, with masks and on the dense model
    model, tokenizer = loaded
    masks = ns.NeuronMasks.from_pretrained(place)
    for masked in (False, True):
        if masked:
            ns.specialize(model, masks)
        for row, text in zip(rows, found, strict=True):
            if row.masked == masked:
                given: dict[str, Any] = {"task": row.task, "beams": row.beams, "max_tokens": MAX_TOKENS}
                assert ns.translate(model, tokenizer, [row.text], **given) == [text]

    # Masks make a difference, and so does the direction.
    assert len(set(found)) > len(rows) // 4
    assert engine.translate([]) == []


def test_tokens_are_counted_as_the_model_reads_them(engine: MaskedEngine) -> None:
    rows = [Sentence(text=text, task=TASKS[0]) for text in ["a b", "", "a b a b a b"]]
    short, empty, long = engine.count_tokens(rows)
    assert (empty, long) == (0, 3 * short)

    # Half of the longest translation
    assert engine.find_longest(TASKS[0]) == MAX_TOKENS // 2


def test_fired_neurons_are_those_of_the_direction(engine: MaskedEngine) -> None:
    row = Sentence(text="a b c", task=TASKS[0])
    for layer in engine.find_fired(row, "b a"):
        assert 0 < layer.fired <= layer.selected < layer.width
    dense = engine.find_fired(Sentence(text="a b c", task=TASKS[0], masked=False), "b a")
    assert any(layer.fired > layer.selected for layer in dense)


def test_directions_are_those_that_are_named(place: Path) -> None:
    with open_serving_engine(describe(place), ["de-fr"]) as engine:  # composed of the two that have masks
        assert engine.tasks == ("de-fr",)
        assert engine.translate([Sentence(text="a b", task="de-fr")]) != [""]

    message = "has no masks that name directions: name some, --task en-de,de-en"
    with pytest.raises(NeuronspecError, match=message), open_serving_engine(describe(place, dense=True)):
        pass

    # Without masks, rows with and without them are the same.
    with open_serving_engine(describe(place, dense=True), [TASKS[0]]) as engine:
        rows = [Sentence(text="ab cd", task=TASKS[0], masked=masked, beams=1) for masked in (True, False)]
        assert len(set(engine.translate(rows))) == 1


def test_other_engines_answer_alike(engine: MaskedEngine, place: Path) -> None:
    pytest.importorskip("ctranslate2")
    rows = [row for row in list_rows() if row.beams == 1]
    with open_serving_engine(describe(place, engine="ctranslate2")) as other:
        assert other.tasks == TASKS
        assert isinstance(other, SystemEngine)
        other._options = other._options.model_copy(update={"max_tokens": MAX_TOKENS})
        assert other.translate(rows) == engine.translate(rows)
        assert other.count_tokens(rows) == engine.count_tokens(rows)


def test_the_page_is_offered_the_base_and_the_neurons(engine: MaskedEngine) -> None:
    app = make_app(engine)
    offer = finish(ask(app, "GET", "/page/offer")).json
    assert offer == {"tasks": list(TASKS), "base_tasks": list(TASKS), "has_neurons": True, "needs_key": False}

    answer = finish(post(app, "/v1/neurons", {"text": "ab cd", "task": "de-en"}))
    assert answer.status == 200
    assert all(0 < layer["fired"] <= layer["selected"] < layer["width"] for layer in answer.json["layers"])
    [expected] = engine.translate([Sentence(text="ab cd", task="de-en")])
    assert answer.json["translation"] == expected
