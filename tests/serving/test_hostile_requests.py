"""Requests that no client sends by mistake: an answer for each, and never more than what belongs to it."""

from __future__ import annotations

import asyncio
import json
import string
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.asking import Answer, ask, post, translate
from tests.serving.engines import TASKS, ReversingEngine, expect
from tests.serving.looping import finish

from neuronspec.serving.app import make_app
from neuronspec.serving.engine import Sentence
from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.options import ServingOptions

MARKER = "QZXJ"  # in every text, and in no message of ours
PATHS = ("/translate", "/detect", "/v1/translate", "/v1/tasks", "/languages", "/health", "/", "/page/script.js")
KINDS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "")
STATUSES = {200, 400, 401, 403, 404, 405, 408, 413, 421, 422}

words = st.text(max_size=12).map(lambda text: MARKER + text)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["q", "source", "target", "format", "alternatives", "api_key", "items"])
items = st.fixed_dictionaries(
    {},
    optional={
        "text": words | anything,
        "task": st.sampled_from(TASKS) | anything,
        "masked": anything,
        "beams": anything,
    },
)
objects = st.dictionaries(names, st.sampled_from(["en", "de", "auto", "text", 1]) | words | anything, max_size=7)


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return make_app(ReversingEngine(), ServingLimits(gather_seconds=0.0, read_seconds=1.0), ServingOptions(beams=1))


def check(answer: Answer, path: str) -> None:
    """Check that an answer has a status of its own and, if it is a refusal, quotes nothing."""
    assert answer.status in STATUSES
    if answer.status != 200:
        assert list(answer.json) == ["error"]
        assert MARKER not in answer.body.decode()


@settings(max_examples=60)
@given(
    path=st.sampled_from(PATHS),
    kind=st.sampled_from(KINDS),
    body=st.binary(max_size=60),
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "X"]),
)
def test_random_bytes_are_answered(app: FastAPI, path: str, kind: str, body: bytes, method: str) -> None:
    check(finish(ask(app, method, path, body, {"content-type": kind} if kind else {})), path)


@settings(max_examples=80)
@given(
    value=anything | objects | st.fixed_dictionaries({"items": st.lists(items | anything, max_size=3)}),
    path=st.sampled_from(PATHS[:3]),
)
def test_json_of_any_shape_is_answered(app: FastAPI, path: str, value: Any) -> None:
    check(finish(post(app, path, value)), path)


@settings(max_examples=30)
@given(
    headers=st.dictionaries(
        st.sampled_from(["content-length", "content-type", "authorization", "origin", "host", "expect", "te", "x-any"]),
        st.text(string.printable.strip(), max_size=20),
        max_size=4,
    )
)
def test_headers_of_any_kind_are_answered(app: FastAPI, headers: dict[str, str]) -> None:
    body = b"q=a&source=en&target=de"
    answer = finish(ask(app, "POST", "/translate", body, headers))
    assert answer.status in STATUSES


@settings(max_examples=25)
@given(
    requests=st.lists(
        st.lists(
            st.builds(
                Sentence,
                text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=9).map(
                    lambda text: f"<{text}>"
                ),
                task=st.sampled_from([*TASKS, "en-xx"]),
                masked=st.booleans(),
                beams=st.integers(1, 3),
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=12,
    )
)
def test_every_request_gets_its_own_answer_among_others_that_fail(app: FastAPI, requests: list[list[Sentence]]) -> None:
    def list_items(rows: list[Sentence]) -> list[dict[str, Any]]:
        return [{"text": row.text, "task": row.task, "masked": row.masked, "beams": row.beams} for row in rows]

    async def together() -> list[Answer]:
        broken = [translate(app, {"text": f"{number} broken", "task": "en-de"}) for number in range(3)]
        asked = [translate(app, *list_items(rows)) for rows in requests]
        found = await asyncio.gather(*asked, *broken)
        assert [answer.status for answer in found[len(requests) :]] == [500] * 3
        return list(found[: len(requests)])

    for rows, answer in zip(requests, finish(together()), strict=True):
        if any(row.task == "en-xx" for row in rows):
            assert answer.status == 400
        else:
            assert json.loads(answer.body) == {"translations": list(map(expect, rows))}
