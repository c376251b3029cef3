"""The method fine_tune: continued training of every parameter, with nothing added (Fine-Tune in the paper)."""

from __future__ import annotations

from neuronspec.methods.registry import METHODS
from neuronspec.training.method import Method


@METHODS.register("fine_tune")
class FineTune(Method):
    """Trains every parameter on every task."""

    name = "fine_tune"
