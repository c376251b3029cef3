"""Options that decide how a model decodes."""

from __future__ import annotations

from typing import Annotated

import typer

EarlyStoppingOption = Annotated[
    bool | None,
    typer.Option(
        "--early-stopping/--no-early-stopping",
        help="End a beam search at as many finished hypotheses as beams, as fairseq does; by default as the "
        "model's generation configuration says.",
        show_default=False,
    ),
]
