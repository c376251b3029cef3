"""The run that a model directory belongs to, and which directions the model was trained on there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuronspec.config.loading import holds_run, load_config
from neuronspec.languages import match_direction
from neuronspec.pipeline.layout import Layout


def find_origin(model: str | Path) -> tuple[Path, str] | None:
    """Return the directory of the run that a model belongs to, and the system; None for a model from elsewhere.

    Args:
        model: Directory of the model, or its name on the hub.
    """
    place = Path(model).resolve()
    if len(place.parents) < 3 or not holds_run(place.parents[2]):
        return None

    # Only what the run has trained, and not another directory within it
    out, system = place.parents[2], place.parent.name
    return (out, system) if place == Layout(out).model(system) else None


def find_untrained(model: str | Path, tasks: Sequence[str]) -> list[str]:
    """Return the directions that a model of a run was not trained on; none for a model from elsewhere.

    Args:
        model: Directory of the model, or its name on the hub.
        tasks: Directions, in any spelling of their languages.
    """
    origin = find_origin(model)
    if origin is None:
        return []
    config = load_config(origin[0], warns=False)
    trained = config.directions()
    unseen = [task for task in tasks if match_direction(task, trained) is None]

    # A model that a language was added to still has the directions that it had before.
    if config.model.extend is not None and config.model.pretrained is not None:
        return find_untrained(config.model.pretrained, unseen)
    return unseen
