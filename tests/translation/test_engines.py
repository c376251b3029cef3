"""Engines: found by name and alias, imported when opened, and open to others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.patience import PATIENCE
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.translation.engines import DEFAULT_ENGINE, ENGINES, Decode, Engine, open_engine, resolve_engine


@contextmanager
def open_shouting(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, options: Translation, *, source_prefix: Any = None
) -> Iterator[Decode]:
    yield lambda sentences, tasks, options=None, **more: [sentence.upper() for sentence in sentences]


def test_engines_are_found_by_name_and_by_alias() -> None:
    assert list(ENGINES)[:2] == [DEFAULT_ENGINE, "ctranslate2"]
    assert resolve_engine("transformers") == "transformers"
    assert resolve_engine("ct2") == resolve_engine("ctranslate2") == "ctranslate2"
    with pytest.raises(
        NeuronspecError, match=r"unknown engine 'ctranslat' .*'ctranslate2'.*known: transformers, ctran"
    ):
        resolve_engine("ctranslat")


def test_no_alias_is_the_name_of_another_engine() -> None:
    names = [name for registered, engine in ENGINES.items() for name in (registered, *engine.aliases)]
    assert len(names) == len(set(names))


def test_options_of_engines_are_settings_of_translation() -> None:
    for engine in ENGINES.values():
        assert engine.options <= Translation.model_fields.keys()
        assert bool(engine.library) == bool(engine.extra)


def test_listing_engines_imports_none_of_their_libraries() -> None:
    program = (
        "import sys\nfrom neuronspec.translation.engines import ENGINES\n"
        "print(*ENGINES, *({'torch', 'transformers', 'ctranslate2'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.split() == list(ENGINES)


def test_a_registered_engine_translates(
    small_model: Any, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ENGINES, "_entries", dict(ENGINES._entries))
    ENGINES.register("shouting")(Engine(open=open_shouting, summary="shouts", aliases=("loud",)))
    options = Translation().model_copy(update={"engine": "loud"})
    with open_engine(small_model(), tokenizer, options) as decode:
        assert decode(["a b"], ["de-en"]) == ["A B"]
