"""Options of the formats that come with this package."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from neuronspec.config.sections import Section
from neuronspec.data.reading_errors import explain_missing
from neuronspec.languages import same_language


class NoOptions(Section):
    """No options."""


class HFOptions(Section):
    """Options of the format hf."""

    widths: Literal["plain", "own"] = "plain"
    """Widths of the layers. `plain`: those that plain transformers loads; where the layers of a stack have different
    numbers of neurons, all are filled up to the widest with zeros. `own`: each layer its own, which only
    `neuronspec.load_model` loads."""


class CT2Options(Section):
    """Options of the format ct2."""

    compute_type: Literal[
        "float32", "float16", "bfloat16", "int16", "int8", "int8_float32", "int8_float16", "int8_bfloat16"
    ] = "float32"
    """Precision in which the weights are stored. CTranslate2 computes in it where the processor can, and otherwise in
    the nearest one that it can."""

    trim: dict[str, Path] | None = None
    """Text of each language of the task, a sentence a line, to which the vocabulary is trimmed; for none, it stays
    whole."""

    @field_validator("trim")
    @classmethod
    def _check_texts(cls, files: dict[str, Path] | None) -> dict[str, Path] | None:
        """Refuse two texts of one language and files that are missing, before anything is written."""
        for first, second in itertools.combinations(files or {}, 2):
            if same_language(first, second):
                raise ValueError(f"{first} and {second} are the same language; give one file for each language")
        for path in (files or {}).values():
            if not path.exists():
                raise explain_missing(path)
        return files

    min_count: Annotated[int, Field(ge=1)] = 1
    """Number of times that a token must occur in these texts to stay in a trimmed vocabulary."""

    least_chrf: Annotated[float, Field(ge=0, le=100)] = 50.0
    """Smallest chrF++ of the translations of the proof, with those of the masked model as references: what is below it
    is not published. In float32 with the whole vocabulary, greedy translations must be equal."""
