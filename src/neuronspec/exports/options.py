"""Options of the formats that come with this package."""

from __future__ import annotations

from typing import Literal

from neuronspec.config.sections import Section


class NoOptions(Section):
    """No options."""


class HFOptions(Section):
    """Options of the format hf."""

    widths: Literal["plain", "own"] = "plain"
    """Widths of the layers. `plain`: those that plain transformers loads; where the layers of a stack have different
    numbers of neurons, all are filled up to the widest with zeros. `own`: each layer its own, which only
    `neuronspec.load_model` loads."""
