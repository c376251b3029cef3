from __future__ import annotations

from fastapi.testclient import TestClient
from tests.serving.engines import TASKS, ReversingEngine, expect

from neuronspec.serving.app import make_app
from neuronspec.serving.engine import Sentence
from neuronspec.serving.options import ServingOptions

OPTIONS = ServingOptions(hosts=["testserver"])


def test_a_request_mixes_directions_masks_and_beam_sizes() -> None:
    rows = [
        Sentence(text="one two", task="en-de"),
        Sentence(text="drei", task="de-en", masked=False),
        Sentence(text="four", task="en-fr", beams=1),
    ]
    items = [{"text": row.text, "task": row.task, "masked": row.masked, "beams": row.beams} for row in rows]
    with TestClient(make_app(ReversingEngine(), options=OPTIONS)) as client:
        answer = client.post("/v1/translate", json={"items": items})
    assert answer.status_code == 200
    assert answer.json() == {"translations": [expect(row) for row in rows]}


def test_directions_are_listed() -> None:
    with TestClient(make_app(ReversingEngine(), options=OPTIONS)) as client:
        assert client.get("/v1/tasks").json() == {"tasks": list(TASKS)}
