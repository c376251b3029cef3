import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.data import duplicates
from neuronspec.data.duplicates import among, find_first, in_range, split_range

NUMBERS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**63, 2**64 - 1])


@given(st.lists(st.lists(NUMBERS | st.integers(0, 3), max_size=9), max_size=5), st.sampled_from([1, 2, 5, 1 << 20]))
def test_the_first_of_equal_numbers_is_found_in_any_number_of_rounds(lists: list[list[int]], size: int) -> None:
    pieces = [np.array(numbers, dtype=np.uint64) for numbers in lists]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "ROUND_SIZE", size)
        readers = [functools.partial(lambda piece: piece, piece) for piece in pieces]
        found = [flags.tolist() for flags in find_first(readers, list(map(len, pieces)))]

    seen: set[int] = set()
    expected = []
    for numbers in lists:
        expected.append([numbers.index(number) == place and number not in seen for place, number in enumerate(numbers)])
        seen.update(numbers)
    assert found == expected


@given(st.integers(1, 40), NUMBERS)
def test_every_number_is_in_one_range(rounds: int, number: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "ROUND_SIZE", 10)
        ranges = list(split_range(10 * rounds))
    assert len(ranges) == rounds
    numbers = np.array([number], dtype=np.uint64)
    assert sum(bool(in_range(numbers, low, high)[0]) for low, high in ranges) == 1


@given(st.lists(NUMBERS), st.sets(NUMBERS))
def test_known_numbers_are_found(numbers: list[int], known: set[int]) -> None:
    found = among(np.array(numbers, dtype=np.uint64), np.array(sorted(known), dtype=np.uint64))
    assert found.tolist() == [number in known for number in numbers]
