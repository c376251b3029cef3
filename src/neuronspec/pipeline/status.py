"""The state of a run's stages: which are done, since when, and which would run, and why; nothing is changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from neuronspec.pipeline.content_hashes import ContentHashes
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.records import UNFINISHED, Record, describe_origin, find_reason, read_record
from neuronspec.pipeline.sharing import find_finished

State = Literal["done", "unfinished", "not done", "to be redone", "to be shared"]


@dataclass(frozen=True, kw_only=True)
class StageState:
    """The state of a stage.

    Attributes:
        name: Name of the stage.
        state: `done` and up to date; `unfinished`, so that it resumes; `not done` yet; `to be redone`, because
            something that it was made from has changed; `to be shared`, because another run has done it.
        reason: Reason why it would run, or the run that it is shared from; empty if it is done, or was never run.
        finished: Time at which it finished, in ISO 8601; None if it did not.
        seconds: Seconds that it took so far; None if it never ran.
    """

    name: str
    state: State
    reason: str = ""
    finished: str | None = None
    seconds: float | None = None

    @property
    def runs(self) -> bool:
        """Whether the stage would run."""
        return self.state not in ("done", "to be shared")

    def as_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return asdict(self)


def examine(
    stages: Sequence[Stage], layout: Layout, force: Collection[str] = (), share_from: Sequence[Path] = ()
) -> list[StageState]:
    """Return the state of each stage, without running or writing anything.

    Files are hashed only where their state has changed since a stage was run.

    Args:
        stages: Stages in an order in which inputs come before what needs them.
        layout: Paths of the run.
        force: Names of stages to do again in any case.
        share_from: Directories of runs whose finished stages would be shared.
    """
    examiner = _Examiner(layout=layout, sources=share_from, hashes=ContentHashes(layout, share_from))
    return [examiner.examine(stage, forced=stage.name in force) for stage in stages]


@dataclass(kw_only=True)
class _Examiner:
    """Examines stages one after the other, and remembers what the earlier ones would write.

    Attributes:
        layout: Paths of the run.
        sources: Directories of runs to share from.
        hashes: Hashes of the contents of files.
        remade: Outputs of stages that would run -> the name of the stage.
        shared: Names of outputs that would be shared -> their fingerprints.
    """

    layout: Layout
    sources: Sequence[Path]
    hashes: ContentHashes
    remade: dict[Path, str] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)

    def examine(self, stage: Stage, *, forced: bool) -> StageState:
        """Return the state of the next stage."""
        place = self.layout.record(stage.name)
        record = read_record(place)
        now = describe_origin(stage, self.hashes)

        # Inputs that would be shared are those of the other run.
        now["inputs"] |= {name: self.shared[name] for name in now["inputs"] if name in self.shared}
        reason = "asked to" if forced else find_reason(stage, record, now, self.layout, self.hashes)

        # Inputs that are made again count as changed: only their new content could show that they are the same.
        makers = list(dict.fromkeys(self.remade[path] for path in stage.inputs if path in self.remade))
        if reason is not None and not forced and not makers:
            found = find_finished(stage, self.layout, now, self.sources)
            if found is not None:
                self.shared |= found.record["outputs"]
                return StageState(name=stage.name, state="to be shared", reason=f"from {found.layout.out}")

        state = _judge(stage, record, reason=reason, makers=makers, finished=_read_time(record, place))
        if state.runs:
            self.remade |= dict.fromkeys(stage.outputs, stage.name)
        return state


def _judge(
    stage: Stage, record: Record | None, *, reason: str | None, makers: Sequence[str], finished: str | None
) -> StageState:
    """Return the state of a stage that is not shared.

    Args:
        stage: The stage.
        record: Record of the stage.
        reason: Reason why it would run, apart from its inputs that are made again.
        makers: Names of the stages that make its inputs again.
        finished: Time at which it finished.
    """
    if record is None:
        return StageState(name=stage.name, state="not done")

    if makers and reason in (None, UNFINISHED):
        reason = f"depends on {', '.join(makers)}"
    state: State = "done"
    if record["outputs"] is None:
        state = "unfinished"
    elif reason is not None:
        state = "to be redone"
    return StageState(
        name=stage.name,
        state=state,
        reason="" if reason in (None, UNFINISHED) else str(reason),
        finished=finished,
        seconds=record["seconds"],
    )


def _read_time(record: Record | None, place: Path) -> str | None:
    """Return the time at which a stage finished; where an earlier version did not record it, that of its record."""
    if record is None or record["outputs"] is None:
        return None
    known: str | None = record.get("finished")
    return known or datetime.fromtimestamp(place.stat().st_mtime, tz=UTC).isoformat(timespec="seconds")
