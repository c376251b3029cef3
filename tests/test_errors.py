from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.errors import NeuronspecError, NeuronspecWarning, did_you_mean

NAMES = st.lists(st.text("abcdef", min_size=3, max_size=8), unique=True, max_size=8)


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("sampeling", ["seed", "sampling"], " (did you mean 'sampling'?)"),
        ("DE", ["de", "en"], " (did you mean 'de'?)"),  # nothing but the case differs
        ("trains", ["train", "trainer", "x"], " (did you mean 'train' or 'trainer'?)"),
        ("zzz", ["de", "en"], ""),
        ("de", [], ""),
    ],
)
def test_the_nearest_names_are_suggested(name: str, known: list[str], hint: str) -> None:
    assert did_you_mean(name, known) == hint
    assert did_you_mean(name, iter(known)) == hint


@given(NAMES, st.text("abcdef", max_size=8))
def test_only_known_names_are_suggested(known: list[str], name: str) -> None:
    hint = did_you_mean(name, known)
    suggested = hint.removeprefix(" (did you mean ").removesuffix("?)").split(" or ") if hint else []
    assert len(suggested) <= 2
    assert {text.strip("'") for text in suggested} <= set(known)


def test_warnings_and_errors_can_be_told_from_all_others() -> None:
    assert issubclass(NeuronspecWarning, UserWarning)
    assert not issubclass(NeuronspecError, ValueError | OSError)
