"""Looks at a finished run: what changes of the command line would replace there, which no verb does unasked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuronspec.errors import NeuronspecError
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.plan import list_needed, plan_stages
from neuronspec.pipeline.records import list_differences, read_record
from neuronspec.pipeline.run import Run

Differences = Mapping[str, tuple[Any, Any]]
"""Value in the record of a stage and value that was asked for, by dotted key."""


def list_replaced(
    run: Run, base: Run | None, until: str | None = None, *, only: str | None = None
) -> dict[str, Differences]:
    """Return the finished stages of a run that changes to its configuration would replace, with the differences.

    What an edited configuration changes by itself does not count, nor does a section that is only added: an ablation
    where there was none, a method more.

    Args:
        run: The run, with the changes.
        base: The same run without the changes; None if it is nothing without them.
        until: Name of the last stage to run; all of them if not given.
        only: Member of the group `until` to run.
    """
    # Where work is left, the changed configuration is stored as that of the whole run.
    stages = list_needed(run, until, only=only)
    if not all(_is_finished(stage, run) for stage in stages):
        stages = plan_stages(run)

    unchanged = {stage.name: stage.settings for stage in plan_stages(base)} if base is not None else {}
    replaced: dict[str, Differences] = {}
    for stage in stages:
        record = read_record(run.layout.record(stage.name))
        if record is None or record["outputs"] is None:
            continue

        # Only what is both asked for here and other than what the stage was made from
        asked = list_differences(unchanged.get(stage.name, {}), stage.settings)
        differing = list_differences(record["made_from"]["settings"], stage.settings)
        found = {key: values for key, values in differing.items() if _overlaps(key, asked) and not _is_added(values)}
        if found:
            replaced[stage.name] = found
    return replaced


def _is_finished(stage: Stage, run: Run) -> bool:
    record = read_record(run.layout.record(stage.name))
    return record is not None and record["outputs"] is not None


def _overlaps(key: str, others: Differences) -> bool:
    """Return whether a key is among others, or is part of one of them, or has one of them as its part."""
    return any(f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other in others)


def _is_added(values: tuple[Any, Any]) -> bool:
    before, now = values
    return before is None and isinstance(now, Mapping)


def refuse_replacing(replaced: Mapping[str, Differences], run: Run, advice: str = "") -> None:
    """Refuse changes that would replace finished stages.

    Args:
        replaced: The stages, with the differences.
        run: The run.
        advice: Way to keep the results, which comes before the others.

    Raises:
        NeuronspecError: If there are such stages.
    """
    if not replaced:
        return

    changes = dict.fromkeys(
        f"{key}: {before} -> {now}" for found in replaced.values() for key, (before, now) in found.items()
    )
    raise NeuronspecError(
        f"{'; '.join(changes)} would replace finished results in {run.layout.out} ({', '.join(replaced)}): {advice}"
        "give --out DIR for a run of its own, which shares all else, or --force to change this one"
    )
