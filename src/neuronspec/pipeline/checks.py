"""Checking anything before work: a run, a model, masks, counts, or files of text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronspec.checking.problem import Problem
from neuronspec.config.loading import read_sweeps
from neuronspec.errors import NeuronspecError
from neuronspec.methods import method_options
from neuronspec.pipeline.run import open_run
from neuronspec.pipeline.run_checkup import check_run, check_runs
from neuronspec.pipeline.source_checkup import SourceOptions, check_source
from neuronspec.pipeline.source_kinds import find_source_kind
from neuronspec.pipeline.sweeps import open_sweep


def check(
    source: str | Path,
    changes: Mapping[str, Any] | None = None,
    *,
    model: str | None = None,
    texts: Mapping[str, str] | None = None,
    languages: str | None = None,
    limit: int | None = None,
) -> list[Problem]:
    """Return the problems of a run, a model, masks, counts or files of text that can be known before any work.

    Args:
        source: Configuration, recipe or directory of a run; model; place of masks or counts; or file or folder of text.
        changes: Changes to a configuration by dotted key: `{"train.updates": 300}`.
        model: Model of masks, counts or text.
        texts: File of each task, for a model: `{"de-en": "news.tsv"}`.
        languages: Codes or directions that a model must have tags for, separated by commas.
        limit: Number of sentence pairs to read of each text; by default as many as are read in seconds.

    Returns:
        The problems, the most severe first, each with its `level`, `message` and `fix`.

    Raises:
        NeuronspecError: If the source does not exist or cannot be read, or a configuration does not fit.

    Example:
        >>> for problem in ns.check("my.yaml", {"train.updates": 300}):  # doctest: +SKIP
        ...     print(problem.level, problem.message, problem.fix)
    """
    if find_source_kind(str(source)) == "configuration":
        # A key with several values makes several runs.
        sweeps, _ = read_sweeps(source, method_options=method_options(), changes=changes)
        if sweeps:
            return check_runs(open_sweep(source, changes=changes).runs, str(source), limit=limit).problems
        return check_run(open_run(source, changes=changes), str(source), limit=limit).problems

    if changes:
        raise NeuronspecError(f"{source} is no configuration: {next(iter(changes))} changes nothing in it")
    options = SourceOptions(
        model=model,
        texts=texts or {},
        languages=languages,
        limit=limit,
    )
    return check_source(str(source), options).problems
