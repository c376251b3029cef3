"""The learning rate, by hand and by its properties."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.config.sections import Training
from neuronspec.training.schedule import learning_rate

BY_HAND: dict[str, tuple[dict[str, Any], list[float]]] = {
    "constant without warm-up": ({"schedule": "constant", "warmup": 0}, [0.8] * 8),
    "constant after warm-up": ({"schedule": "constant", "warmup": 4}, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8]),
    # from update 5 on: 0.8 * sqrt(4 / 5), sqrt(4 / 6), ...
    "inverse square root": ({"warmup": 4}, [0.2, 0.4, 0.6, 0.8, 0.71554, 0.65320, 0.60474, 0.56569]),
    "inverse square root without warm-up": (
        {"warmup": 0},
        [0.8, 0.56569, 0.46188, 0.4, 0.35777, 0.32660, 0.30237, 0.28284],
    ),
    "decay over a half": (
        {"schedule": "constant", "warmup": 2, "decay": 0.5},
        [0.4, 0.8, 0.8, 0.8, 0.8, 0.6, 0.4, 0.2],
    ),
    "decay from the start": (
        {"schedule": "constant", "warmup": 0, "decay": 1.0},
        [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
    ),
    "warm-up longer than the training": ({"warmup": 16}, [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4]),
}


@pytest.mark.parametrize(("settings", "expected"), BY_HAND.values(), ids=BY_HAND.keys())
def test_learning_rate_by_hand(settings: dict[str, Any], expected: list[float]) -> None:
    training = Training(updates=8, learning_rate=0.8, **settings)
    assert [learning_rate(update, training) for update in range(8)] == pytest.approx(expected, abs=1e-5)


@given(
    updates=st.integers(1, 300),
    warmup=st.integers(0, 100),
    schedule=st.sampled_from(["inverse_sqrt", "constant"]),
    decay=st.floats(0, 1),
)
def test_learning_rate_rises_once_then_never_rises_again(
    updates: int, warmup: int, schedule: str, decay: float
) -> None:
    training = Training.model_validate(
        {"updates": updates, "warmup": warmup, "schedule": schedule, "decay": decay, "learning_rate": 1e-3}
    )
    rates = [learning_rate(update, training) for update in range(updates)]
    assert all(0 < rate <= 1e-3 for rate in rates)
    after = rates[max(warmup - 1, 0) :]
    assert all(later <= earlier for earlier, later in itertools.pairwise(after))
    if decay == 0:
        rising = rates[:warmup]
        assert all(later > earlier for earlier, later in itertools.pairwise(rising))
