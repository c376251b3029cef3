"""The state of a training as a checkpoint and its summary hold it, checked where it is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from neuronspec.artifacts.typed_json import Stored, check_typed
from neuronspec.errors import NeuronspecError

Count = Annotated[int, Field(ge=0, lt=1 << 63)]
Point = Annotated[list[float], Field(min_length=3, max_length=3)]


class StoredState(Stored):
    """Progress of a training; the fields are those of `TrainingState`."""

    model_config = ConfigDict(extra="forbid")

    update: Count
    round: Count
    batch: Count
    target_tokens: Count
    seconds: float = Field(ge=0)
    train_loss: float
    point_loss: float
    points: list[Point]
    best_loss: float | None
    best_update: Count
    validations_without_gain: Count
    finished: bool

    @model_validator(mode="after")
    def _fits_together(self) -> StoredState:
        # What is plausible by itself can contradict the rest.
        if self.best_update > self.update:
            raise ValueError(f"best_update {self.best_update} comes after update {self.update}")
        if (self.best_loss is None) != (self.best_update == 0):
            raise ValueError(f"best_update {self.best_update} does not fit best_loss {self.best_loss}")
        return self


def check_state(values: dict[str, Any], path: Path, update: int) -> None:
    """Refuse the state of a checkpoint that no training can have.

    Args:
        values: Values in `state.json`.
        path: Path of the file.
        update: Number of updates of the checkpoint.

    Raises:
        NeuronspecError: If a value is missing, of another type, or contradicts the others.
    """
    state = check_typed(values, StoredState, path, "an earlier checkpoint is used if there is one")
    if state.update != update:
        raise NeuronspecError(f"{path} is damaged: it is the state after {state.update} updates, not after {update}")
