from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.corrections import benjamini_hochberg, holm
from neuronspec.statistics.numbers import FloatArray

# Adjusted by hand, in the order given.
P_VALUES = [0.01, 0.02, 0.03, 0.04, 0.05]


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(P_VALUES), [0.05, 0.08, 0.09, 0.09, 0.09])
    np.testing.assert_allclose(holm([0.04, 0.5, 0.001, 0.6]), [0.12, 1.0, 0.004, 1.0])


def test_benjamini_hochberg_by_hand() -> None:
    np.testing.assert_allclose(benjamini_hochberg(P_VALUES), [0.05] * 5)
    np.testing.assert_allclose(benjamini_hochberg([0.04, 0.5, 0.001, 0.6]), [0.08, 0.6, 0.004, 0.6])


@given(p=st.lists(st.floats(0, 1), max_size=20))
def test_properties_of_adjusted_p_values(p: list[float]) -> None:
    raw, family_wise, false_discovery = np.array(p), holm(p), benjamini_hochberg(p)
    assert family_wise.shape == false_discovery.shape == (len(p),)
    # Never below the raw value, never above Bonferroni's; Holm is the stricter of the two.
    slack = 1e-12
    assert (raw <= false_discovery + slack).all()
    assert (false_discovery <= family_wise + slack).all()
    assert (family_wise <= np.minimum(1, raw * len(p)) + slack).all()
    order = np.argsort(raw, kind="stable")
    assert (np.diff(family_wise[order]) >= 0).all()
    assert (np.diff(false_discovery[order]) >= -slack).all()


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@pytest.mark.parametrize("p", [[0.1, 1.2], [-0.1], [float("nan")], [[0.1, 0.2]]])
def test_adjustments_refuse_what_is_no_p_value(adjust: Callable[..., FloatArray], p: list[float]) -> None:
    with pytest.raises(NeuronspecError, match="numbers between 0 and 1"):
        adjust(p)
