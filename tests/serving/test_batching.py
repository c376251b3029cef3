from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from tests.serving.engines import TASKS, ReversingEngine, expect
from tests.serving.looping import finish

from neuronspec.serving.batching import Batcher
from neuronspec.serving.engine import Sentence
from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.refusals import RefusedError

LIMITS = ServingLimits(gather_seconds=0.002, batch_tokens=30)


def make_row(text: str, task: str = "en-de", beams: int = 1) -> Sentence:
    return Sentence(text=text, task=task, beams=beams)


async def until(condition: Any) -> None:
    """Wait until something is true."""
    while not condition():
        await asyncio.sleep(0.001)


def run(batcher: Batcher, work: Coroutine[Any, Any, Any]) -> Any:
    async def together() -> Any:
        try:
            return await work
        finally:
            await batcher.close()

    return finish(together())


def test_every_text_of_many_requests_gets_its_own_translation() -> None:
    chance = random.Random(0)
    requests = [
        [
            Sentence(
                text=f"{number} {place} " + "word " * chance.randrange(9) + "end",
                task=chance.choice(TASKS),
                masked=chance.random() < 0.5,
                beams=chance.randrange(1, 4),
            )
            for place in range(chance.randrange(1, 12))
        ]
        for number in range(60)
    ]
    engine = ReversingEngine()
    batcher = Batcher(engine, replace(LIMITS, batch_tokens=200))

    async def ask() -> list[list[str]]:
        return await asyncio.gather(*map(batcher.translate, requests))

    assert run(batcher, ask()) == [list(map(expect, rows)) for rows in requests]
    assert len(engine.threads) == 1
    assert 1 < len(engine.batches) < sum(map(len, requests)) / 3
    assert max(sum(len(row.text.split()) * row.beams for row in batch) for batch in engine.batches) <= 200


def test_an_idle_engine_starts_at_once_and_a_lone_client_never_waits_for_others() -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, replace(LIMITS, gather_seconds=600))

    async def ask() -> list[list[str]]:
        async with asyncio.timeout(60):
            return [await batcher.translate([make_row(text)]) for text in ("a b", "c d", "e f")]

    assert run(batcher, ask()) == [[expect(make_row(text))] for text in ("a b", "c d", "e f")]


def test_clients_that_ask_again_stay_together_in_one_batch() -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, replace(LIMITS, gather_seconds=600))

    async def ask_often(name: str, times: int) -> None:
        for number in range(times):
            await batcher.translate([make_row(f"{name} {number}")])

    async def ask() -> None:
        engine.hold()
        first = asyncio.ensure_future(ask_often("first", 3))
        await until(lambda: engine.batches)
        others = [asyncio.ensure_future(ask_often(name, 2)) for name in ("second", "third")]
        await asyncio.sleep(0)
        engine.held.set()
        async with asyncio.timeout(60):
            await asyncio.gather(first, *others)

    run(batcher, ask())
    assert [len(batch) for batch in engine.batches] == [1, 3, 3]


def test_clients_that_do_not_ask_again_are_not_waited_for() -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, LIMITS)

    async def ask() -> None:
        await asyncio.gather(*(batcher.translate([make_row(name)]) for name in ("one", "two", "three")))
        async with asyncio.timeout(60):
            await batcher.translate([make_row("alone")])

    run(batcher, ask())
    assert [len(batch) for batch in engine.batches] == [3, 1]


def test_a_single_sentence_does_not_wait_for_a_long_request() -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, LIMITS)

    async def ask() -> list[str]:
        engine.hold()
        long = asyncio.ensure_future(batcher.translate([make_row(f"text {number}") for number in range(500)]))
        await until(lambda: engine.batches)
        single = asyncio.ensure_future(batcher.translate([make_row("single")]))
        await asyncio.sleep(0)
        engine.held.set()
        found = await single
        assert not long.done()
        assert len(await long) == 500
        return found

    assert run(batcher, ask()) == [expect(make_row("single"))]
    assert make_row("single") in engine.batches[1]


def test_the_same_text_is_translated_once_for_all_that_ask() -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, LIMITS)

    async def ask() -> list[list[str]]:
        return await asyncio.gather(*(batcher.translate([make_row("same"), make_row("same")]) for _ in range(5)))

    assert run(batcher, ask()) == [[expect(make_row("same"))] * 2] * 5
    assert engine.batches == [[make_row("same")]]


def test_long_texts_are_translated_in_parts_and_blank_lines_stay() -> None:
    engine = ReversingEngine(longest=3)
    batcher = Batcher(engine, LIMITS)
    text = "One two three.\n\n  Four five. Six seven.\n \n"
    [found] = run(batcher, batcher.translate([make_row(text)]))
    parts = [expect(make_row(part)) for part in ("One two three.", "Four five.", "Six seven.")]
    assert found == f"{parts[0]}\n\n  {parts[1]} {parts[2]}\n \n"


@pytest.mark.parametrize("text", ["", "  \n\t ", "\u200b"])
def test_a_text_without_a_visible_character_never_reaches_the_engine(text: str) -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, LIMITS)
    assert run(batcher, batcher.translate([make_row(text)])) == [text]
    assert engine.batches == []


def test_no_texts_have_no_translations() -> None:
    batcher = Batcher(ReversingEngine(), LIMITS)
    assert run(batcher, batcher.translate([])) == []


@pytest.mark.parametrize(("word", "status"), [("refused", 400), ("gone", 503), ("broken", 500)])
def test_a_text_that_fails_fails_alone_and_is_quoted_nowhere(
    word: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, LIMITS)
    rows = [make_row(f"text {number}") for number in range(9)]
    rows[4] = make_row(f"my secret {word}")

    async def ask() -> list[Any]:
        requests = [batcher.translate([row, make_row("fine")]) for row in rows]
        return await asyncio.gather(*requests, return_exceptions=True)

    found = run(batcher, ask())
    error = found.pop(4)
    assert isinstance(error, RefusedError)
    assert error.status == status
    assert "text 1 of the request, en-de," in error.message
    assert ("retry-after" in error.headers) == (status == 503)
    assert found == [[expect(row), expect(make_row("fine"))] for row in rows if "secret" not in row.text]

    if word != "gone":  # an unavailable model is named in the log, and its message is ours
        assert "secret" not in error.message + caplog.text


class ForgetfulEngine(ReversingEngine):
    """Loses the translation of one of several rows."""

    def translate(self, rows: Any) -> list[str]:
        return super().translate(rows)[: max(1, len(rows) - 1)]


class SilentEngine(ReversingEngine):
    """Returns something else than texts."""

    def translate(self, rows: Any) -> Any:
        return [None] * len(super().translate(rows))


def test_lost_translations_are_noticed_and_no_answer_gets_a_wrong_one() -> None:
    batcher = Batcher(ForgetfulEngine(), LIMITS)
    rows = [make_row(f"text {number}") for number in range(5)]
    assert run(batcher, batcher.translate(rows)) == list(map(expect, rows))

    batcher = Batcher(SilentEngine(), LIMITS)
    with pytest.raises(RefusedError, match="an error of the service"):
        run(batcher, batcher.translate(rows))


class CountlessEngine(ReversingEngine):
    """Cannot count the tokens of some texts."""

    def count_tokens(self, rows: Any) -> list[int]:
        if any("uncountable" in row.text for row in rows):
            raise RuntimeError(rows[0].text)
        return super().count_tokens(rows)


def test_a_text_that_cannot_be_counted_fails_alone() -> None:
    batcher = Batcher(CountlessEngine(), LIMITS)

    async def ask() -> list[Any]:
        requests = [batcher.translate([make_row(text)]) for text in ("one", "uncountable", "two")]
        return await asyncio.gather(*requests, return_exceptions=True)

    first, error, second = run(batcher, ask())
    assert (first, second) == ([expect(make_row("one"))], [expect(make_row("two"))])
    assert isinstance(error, RefusedError)
    assert error.status == 500


def test_what_takes_too_long_is_refused_and_later_requests_are_answered() -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, replace(LIMITS, request_seconds=0.05))

    async def ask() -> list[Any]:
        engine.hold()
        late = asyncio.gather(*(batcher.translate([make_row(text)]) for text in "ab"), return_exceptions=True)
        await until(lambda: engine.batches)
        waiting = asyncio.gather(batcher.translate([make_row("never")]), return_exceptions=True)
        refused = [*await late, *await waiting]
        assert batcher.is_stalled
        engine.held.set()
        await until(lambda: batcher.is_idle)
        assert await batcher.translate([make_row("later")]) == [expect(make_row("later"))]
        return refused

    assert [error.status for error in run(batcher, ask())] == [504] * 3
    assert not batcher.is_stalled
    assert all(make_row("never") not in batch for batch in engine.batches)


def test_a_full_queue_refuses_what_does_not_fit() -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, replace(LIMITS, queue=5, sentences=5))

    async def ask() -> None:
        engine.hold()
        first = asyncio.ensure_future(batcher.translate([make_row("first")]))
        await until(lambda: engine.batches)
        second = asyncio.ensure_future(batcher.translate([make_row(text) for text in "abcd"]))
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="too many texts wait") as refused:
            await batcher.translate([make_row(text) for text in "ef"])
        assert refused.value.status == 503
        assert 1 <= int(refused.value.headers["retry-after"]) <= 60
        third = asyncio.ensure_future(batcher.translate([make_row("g")]))
        engine.held.set()
        assert len(await first + await second + await third) == 6

    run(batcher, ask())


def test_the_queue_is_full_of_a_few_long_texts_too() -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, replace(LIMITS, queue_characters=100))

    async def ask() -> None:
        engine.hold()
        first = asyncio.ensure_future(batcher.translate([make_row("x" * 60)]))
        await until(lambda: engine.batches)
        with pytest.raises(RefusedError, match="too many texts wait"):
            await batcher.translate([make_row("y" * 41)])
        engine.held.set()
        assert len(await first + await batcher.translate([make_row("y" * 100)])) == 2

    run(batcher, ask())


def test_texts_of_a_client_that_is_gone_are_dropped() -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, LIMITS)

    async def ask() -> None:
        engine.hold()
        first = asyncio.ensure_future(batcher.translate([make_row("first")]))
        await until(lambda: engine.batches)
        gone = asyncio.ensure_future(batcher.translate([make_row(f"gone {number}") for number in range(9)]))
        stays = asyncio.ensure_future(batcher.translate([make_row("stays")]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        engine.held.set()
        assert await first + await stays == [expect(make_row("first")), expect(make_row("stays"))]

    run(batcher, ask())
    assert [row.text for batch in engine.batches for row in batch] == ["first", "stays"]


def test_other_uses_of_the_engine_come_between_batches() -> None:
    engine = ReversingEngine()
    batcher = Batcher(engine, LIMITS)

    async def ask() -> Any:
        found = await asyncio.gather(
            batcher.translate([make_row("one")]), batcher.call(lambda: engine.count_tokens([make_row("a b c")]))
        )
        with pytest.raises(RefusedError, match="an error of the service"):
            await batcher.call(lambda: 1 / 0)
        return found

    assert run(batcher, ask()) == [[expect(make_row("one"))], [3]]
    assert len(engine.threads) == 1
