import math

import numpy as np
import pytest

from neuronspec.statistics.permutation import TIE, count_reached, find_p_value


def test_ties_count_as_reached_and_scale_with_the_statistics() -> None:
    values = np.array([1 - TIE / 2, 1 - 3 * TIE, 2.0])
    assert count_reached(values, 1.0) == 2
    assert count_reached(values, 1.0, scale=10) == 3


@pytest.mark.parametrize(("reached", "tried", "expected"), [(0, 0, 1.0), (0, 99, 0.01), (99, 99, 1.0)])
def test_the_observed_order_is_one_of_the_orders_tried(reached: int, tried: int, expected: float) -> None:
    assert find_p_value(reached, tried) == expected


def test_what_could_not_be_tested_has_no_p_value() -> None:
    assert math.isnan(find_p_value(math.nan, 99))
