from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from tests.serving.asking import Answer, ask, post, translate
from tests.serving.engines import ReversingEngine, expect
from tests.serving.looping import finish

from neuronspec.errors import NeuronspecError
from neuronspec.serving.app import make_app
from neuronspec.serving.engine import Sentence
from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.options import ServingOptions
from neuronspec.serving.origins import is_loopback

TOKEN = "a-token-of-24-characters"
LIMITS = ServingLimits(body=2_000, read_seconds=0.05, gather_seconds=0.001)
ITEM = {"text": "one two", "task": "en-de", "beams": 1}
EXPECTED = {"translations": [expect(Sentence(text="one two", task="en-de", beams=1))]}


def make(engine: ReversingEngine | None = None, limits: ServingLimits = LIMITS, **options: Any) -> FastAPI:
    return make_app(engine or ReversingEngine(), limits, ServingOptions(**options))


def refused(answer: Answer) -> str:
    """Return the reason of a refusal, which has LibreTranslate's form."""
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    return str(answer.json["error"])


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    answer = finish(ask(make(), "POST", "/translate", [b"x", b"y"], {"content-length": "2001"}))
    assert answer.status == 413
    assert "more than 2000 bytes" in refused(answer)
    assert answer.headers["connection"] == "close"


def test_a_body_in_chunks_is_read_up_to_the_limit() -> None:
    engine = ReversingEngine()
    parts = [b"q=" + b"a" * 999, b"b" * 999, b"c"]
    answer = finish(ask(make(engine), "POST", "/translate", parts))
    assert answer.status == 413
    assert engine.batches == []


def test_a_body_that_does_not_arrive_ends_with_its_own_status() -> None:
    answer = finish(ask(make(), "POST", "/translate", [b"q="], endless=True))
    assert answer.status == 408
    assert "0.05 seconds" in refused(answer)


def test_a_client_that_leaves_gets_nothing_and_leaves_nothing_in_the_queue() -> None:
    engine = ReversingEngine()
    app = make(engine)

    async def leave() -> tuple[Answer, Answer]:
        engine.hold()
        first = asyncio.ensure_future(translate(app, ITEM))
        while not engine.batches:
            await asyncio.sleep(0.001)
        gone = asyncio.Event()
        second = asyncio.ensure_future(translate(app, {**ITEM, "text": "never"}, leaves=gone))
        await asyncio.sleep(0.02)
        gone.set()
        left = await second
        engine.held.set()
        return await first, left

    first, left = finish(leave())
    assert first.json == EXPECTED
    assert (left.status, left.body) == (0, b"")
    assert [row.text for batch in engine.batches for row in batch] == ["one two"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5000", "[::1]:5000", "LOCALHOST:80", "mt.example.org"])
def test_names_of_this_machine_and_allowed_ones_are_answered(host: str) -> None:
    answer = finish(ask(make(hosts=["mt.example.org"]), "GET", "/health", headers={"host": host}))
    assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[::1", "10.0.0.1"])
def test_a_name_that_was_made_to_point_here_is_refused(host: str) -> None:
    answer = finish(ask(make(), "GET", "/health", headers={"host": host}))
    assert answer.status == 421
    assert "--allow-host" in refused(answer)


@pytest.mark.parametrize("origin", ["http://localhost", "chrome-extension://abc", "https://friend.example"])
def test_pages_of_the_service_extensions_and_allowed_pages_may_translate(origin: str) -> None:
    app = make(origins=["https://friend.example"])
    answer = finish(translate(app, ITEM, headers={"origin": origin}))
    assert answer.json == EXPECTED
    readers = answer.headers.get("access-control-allow-origin")
    assert readers == ("https://friend.example" if "friend" in origin else None)


def test_an_allowed_page_reads_refusals_and_asks_before_it_sends_a_token() -> None:
    app = make(origins=["https://friend.example"], token=TOKEN)
    page = {"origin": "https://friend.example"}
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    allowed = finish(ask(app, "OPTIONS", "/v1/translate", headers={**page, **asks}))
    assert allowed.status == 200
    assert "POST" in allowed.headers["access-control-allow-methods"]
    refusal = finish(translate(app, ITEM, headers=page))
    assert refusal.status == 401
    assert refusal.headers["access-control-allow-origin"] == "https://friend.example"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:8000"])
def test_pages_of_other_places_may_not(origin: str) -> None:
    engine = ReversingEngine()
    form = {"origin": origin, "content-type": "application/x-www-form-urlencoded"}
    answer = finish(ask(make(engine), "POST", "/translate", b"q=a&source=en&target=de", form))
    assert answer.status == 403
    assert "--allow-origin" in refused(answer)
    assert engine.batches == []


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/", "ftp://example.org", "*"])
def test_an_origin_is_written_as_browsers_send_it(origin: str) -> None:
    with pytest.raises(NeuronspecError, match="--allow-origin"):
        make(origins=[origin])


@pytest.mark.parametrize("path", ["/v1/translate", "/v1/tasks", "/metrics", "/v1/", "/v1/unknown"])
def test_the_own_api_needs_the_token_in_a_header(path: str) -> None:
    app = make(token=TOKEN)
    method = "POST" if "translate" in path else "GET"
    for header in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}, {"authorization": "Bearer"}):
        answer = finish(ask(app, method, path, b"{", header))
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in refused(answer)


def test_the_token_opens_it_and_some_pages_need_none() -> None:
    app = make(token=TOKEN)
    allowed = {"authorization": f"bearer {TOKEN}"}
    assert finish(translate(app, ITEM, headers=allowed)).json == EXPECTED
    assert finish(ask(app, "GET", "/metrics", headers=allowed)).status == 200
    for path in ("/health", "/languages", "/frontend/settings", "/", "/docs", "/openapi.json"):
        assert finish(ask(app, "GET", path)).status == 200


def test_every_answer_has_the_headers_that_keep_browsers_from_guessing() -> None:
    for path in ("/health", "/nothing", "/docs", "/v1/tasks"):
        headers = finish(ask(make(), "GET", path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"items": [{"text": "my secret"}]}, "items[0].task"),
        ({"items": [{"text": "a", "task": "en-de", "my secret": 1}]}, "items[0].?"),
        ({"items": [{"text": ["my secret"], "task": "en-de"}]}, "items[0].text"),
        ({"items": [{"text": "a", "task": "en-de", "beams": "my secret"}]}, "items[0].beams"),
        ({"items": "my secret"}, "items"),
        ("my secret", "body"),
    ],
)
def test_problems_of_a_request_are_named_without_its_text(value: Any, place: str) -> None:
    answer = finish(post(make(), "/v1/translate", value))
    assert answer.status == 422
    assert refused(answer).startswith(f"{place}: ")
    assert b"secret" not in answer.body


class FailingService:
    """Raises something that quotes a text."""

    def __iter__(self) -> Any:
        raise RuntimeError("my secret")


def test_a_bug_is_an_answer_without_a_traceback_or_a_text(caplog: pytest.LogCaptureFixture) -> None:
    app = make()
    app.state.service.languages = FailingService()
    answer = finish(ask(app, "GET", "/languages"))
    assert answer.status == 500
    assert "its log describes" in refused(answer)
    assert "RuntimeError in __iter__ (test_guard.py:" in caplog.text
    assert "secret" not in caplog.text


def test_limits_of_texts_characters_and_beams_have_sentences_of_their_own() -> None:
    app = make(limits=replace(LIMITS, sentences=2, characters=20, beams=3))
    wrong = {
        "the limit of 2 texts": [ITEM] * 3,
        "the limit of 20 characters": [{**ITEM, "text": "x" * 21}],
        "more than 3 beams": [{**ITEM, "beams": 4}],
        "there is no such direction": [{**ITEM, "task": "en-xx"}],
        "text 2 holds a lone surrogate": [ITEM, {**ITEM, "text": "\ud800"}],
    }
    for sentence, items in wrong.items():
        answer = finish(translate(app, *items))
        assert answer.status == 400
        assert sentence in refused(answer)


def test_while_it_stops_the_service_answers_what_it_accepted_and_refuses_the_rest() -> None:
    engine = ReversingEngine()
    app = make(engine)
    service = app.state.service

    async def stop() -> list[Answer]:
        engine.hold()
        accepted = asyncio.ensure_future(translate(app, ITEM))
        while not engine.batches:
            await asyncio.sleep(0.001)
        service.stop()
        assert not service.is_idle
        later = [
            await translate(app, ITEM),
            await ask(app, "POST", "/translate", b"q=a&source=en&target=de"),
            await ask(app, "GET", "/health"),
        ]
        engine.held.set()
        return [await accepted, *later]

    accepted, *later, health = finish(stop())
    assert accepted.json == EXPECTED
    assert service.is_idle
    for answer in later:
        assert answer.status == 503
        assert answer.headers["retry-after"]
        assert "stopping" in refused(answer)
    assert (health.status, health.json) == (503, {"status": "stopping"})


def test_metrics_count_without_words_of_clients() -> None:
    app = make()

    async def use() -> Answer:
        await translate(app, ITEM, {**ITEM, "text": "my secret"})
        await translate(app, {**ITEM, "text": "secret broken"})
        await ask(app, "GET", "/my-secret")
        await ask(app, "GET", "/health", headers={"host": "my-secret"})
        return await ask(app, "GET", "/metrics")

    answer = finish(use())
    text = answer.body.decode()
    assert 'neuronspec_requests_total{route="/v1/translate",status="200"} 1.0' in text
    assert 'neuronspec_requests_total{route="/v1/translate",status="500"} 1.0' in text
    assert 'neuronspec_requests_total{route="other",status="404"} 1.0' in text
    assert 'neuronspec_refused_total{reason="host"} 1.0' in text
    assert "neuronspec_texts_total 2.0" in text
    assert "neuronspec_queue_texts 0.0" in text
    assert "secret" not in text


def test_addresses_of_this_machine_alone() -> None:
    assert [name for name in ("127.0.0.1", "127.9.9.9", "::1", "LocalHost") if not is_loopback(name)] == []
    assert [name for name in ("0.0.0.0", "::", "10.0.0.1", "example.org", "") if is_loopback(name)] == []


def test_the_description_of_all_routes_needs_no_other_place() -> None:
    app = make()
    schema = json.loads(finish(ask(app, "GET", "/openapi.json")).body)
    page = finish(ask(app, "GET", "/docs")).body.decode()
    assert {"/translate", "/languages", "/detect", "/v1/translate", "/v1/tasks", "/health"} <= schema["paths"].keys()
    for path in schema["paths"]:
        assert f" {path}</code>" in page
    assert "<script" not in page
    assert "http" not in page
