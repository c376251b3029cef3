"""Stage `search`: what a method finds before its training, such as the weights that LaSS keeps for each task."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.models.codec import TextCodec
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.run import Run
from neuronspec.training.method import SearchResources


def plan(run: Run, system: str, settings: dict[str, Any], inputs: Sequence[Path]) -> list[Stage]:
    """Return the stage, which depends on the same settings and inputs as the training that follows it."""
    return [
        Stage(
            name=f"search.{system}",
            execute=functools.partial(execute, run, system),
            settings=settings,
            inputs=inputs,
            outputs=[run.layout.search(system)],
            parallel=True,
        )
    ]


def execute(run: Run, system: str) -> None:
    """Let the method of a system search on the training text."""

    def load() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return run.load_model(), run.load_tokenizer()

    model, tokenizer = load()
    corpora = run.open_corpora(TextCodec(tokenizer, model.config))
    del model  # the search loads its own

    # Everything that a search may read, from the same text and with the same settings as the training
    search = SearchResources(
        directory=run.layout.search(system),
        load=load,
        corpora=corpora,
        tasks=tuple(run.config.directions()),
        training=run.config.continued,
        sampling=run.config.sampling,
        seed=run.seed(system),
        cpu=run.cpu,
    )
    run.make_method(system).search(search)
