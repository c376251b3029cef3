from __future__ import annotations

from neuronspec.training.recent_updates import WINDOW, RecentUpdates


def test_the_mean_is_that_of_the_latest_updates() -> None:
    recent = RecentUpdates()
    recent.add(1000.0, tokens=10**9, seconds=1.0)
    for number in range(WINDOW):
        recent.add(3.0 + number % 2, tokens=1500, seconds=0.5)
    assert str(recent) == "loss 3.50, 3,000 tokens/s"


def test_a_clock_that_stands_still_is_no_error() -> None:
    recent = RecentUpdates()
    recent.add(2.0, tokens=0, seconds=0.0)
    assert str(recent) == "loss 2.00, 0 tokens/s"
