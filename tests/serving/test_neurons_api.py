from __future__ import annotations

from typing import Any

import pytest
from tests.serving.asking import Answer, ask, post
from tests.serving.engines import ReversingEngine, expect
from tests.serving.looping import finish

from neuronspec.serving.app import make_app
from neuronspec.serving.engine import Sentence
from neuronspec.serving.firing import FiredLayer

LAYER = FiredLayer(layer="encoder.0", width=8, selected=6, directions=3, fired=4, own=1, common=2, strongest=[])


class WatchedEngine(ReversingEngine):
    """Keeps what it is asked about."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[tuple[Sentence, str]] = []

    def find_fired(self, row: Sentence, translation: str) -> list[FiredLayer]:
        self.asked.append((row, translation))
        return [LAYER]


def ask_neurons(engine: ReversingEngine, **fields: Any) -> Answer:
    answer: Answer = finish(post(make_app(engine), "/v1/neurons", {"task": "en-de", **fields}))
    return answer


def test_neurons_are_those_of_the_text_and_its_translation() -> None:
    engine = WatchedEngine()
    row = Sentence(text="one two", task="en-de", masked=False, beams=2)
    answer = ask_neurons(engine, text="one two", masked=False, beams=2)
    assert answer.status == 200
    assert answer.json == {"translation": expect(row), "layers": [LAYER.model_dump()]}
    assert engine.asked == [(row, expect(row))]


def test_an_empty_text_has_no_neurons() -> None:
    engine = WatchedEngine()
    answer = ask_neurons(engine, text=" \n")
    assert (answer.status, answer.json["layers"], engine.asked) == (200, [], [])


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"text": "one two three four"}, 400), ({"text": "a", "task": "xx"}, 400), ({"text": 3}, 422), ({}, 422)],
)
def test_what_cannot_be_watched_is_refused(fields: dict[str, Any], status: int) -> None:
    engine = WatchedEngine(longest=3)
    answer = ask_neurons(engine, **fields)
    assert answer.status == status
    assert "four" not in answer.json["error"]
    assert engine.asked == []


def test_an_engine_without_neurons_has_no_route_for_them() -> None:
    assert ask_neurons(ReversingEngine(), text="one").status == 404
    offer = finish(ask(make_app(ReversingEngine()), "GET", "/page/offer")).json
    assert (offer["has_neurons"], offer["base_tasks"], offer["needs_key"]) == (False, [], False)
