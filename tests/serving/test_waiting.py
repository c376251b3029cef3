from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from neuronspec.serving.engine import Sentence
from neuronspec.serving.waiting import FairQueue, WaitingRequest, WaitingText


def make_request(size: int) -> WaitingRequest:
    loop = asyncio.new_event_loop()
    loop.close()
    rows = [Sentence(text=str(number), task="en-de") for number in range(size)]
    return WaitingRequest(rows, loop.create_future())


@given(sizes=st.lists(st.integers(1, 30), max_size=8), count=st.integers(1, 12), kept=st.integers(1, 12))
def test_every_text_gets_its_turn_once_and_no_request_waits_for_all_of_another(
    sizes: list[int], count: int, kept: int
) -> None:
    queue = FairQueue()
    requests = [make_request(size) for size in sizes]
    for request in requests:
        queue.add(request)
    assert len(queue) == sum(sizes)

    done: list[WaitingText] = []
    while len(queue):
        taken = queue.take(count, 10**9)
        assert len(taken) == len({id(entry) for entry in taken}) <= count
        queue.put_back(taken[kept:])
        done += [entry for entry in taken[:kept] if isinstance(entry, WaitingText)]

        # No request is more than a turn ahead of another that still waits.
        numbers = [sum(entry.request is request for entry in done) for request in requests]
        behind = [number for number, request in zip(numbers, requests, strict=True) if request.entries]
        assert not behind or max(numbers) <= min(behind) + 1

    for request, size in zip(requests, sizes, strict=True):
        assert [entry.place for entry in done if entry.request is request] == list(range(size))


def test_a_request_that_is_gone_is_not_put_back() -> None:
    queue = FairQueue()
    request, other = make_request(3), make_request(1)
    queue.add(request)
    queue.add(other)
    taken = queue.take(2, 10**9)
    queue.remove(request)
    request.answer.cancel()
    queue.put_back(taken)
    assert [entry.request for entry in queue.take(9, 10**9) if isinstance(entry, WaitingText)] == [other]


def test_no_more_text_is_taken_than_is_needed_but_always_some() -> None:
    queue = FairQueue()
    queue.add(make_request(30))
    assert len(queue.take(30, 4)) == 4  # of one character each
    assert len(queue.take(30, 0)) == 0
    assert len(queue.take(30, 1)) == 1
    assert len(queue) == 25
