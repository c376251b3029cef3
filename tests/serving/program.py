"""`python -m tests.serving.program FILE JSON`: a service over an engine without a model, which writes its address."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from tests.serving.engines import ReversingEngine

from neuronspec.serving.app import make_app
from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.options import ServingOptions
from neuronspec.serving.server import serve


def answer(file: Path, settings: dict[str, Any]) -> None:
    """Answer requests until a signal comes."""
    logging.basicConfig(level=logging.INFO)
    app = make_app(
        ReversingEngine(**settings.get("engine", {})),
        ServingLimits(**settings.get("limits", {})),
        ServingOptions(**settings.get("options", {})),
    )

    def announce(address: str) -> None:
        file.with_suffix(".new").write_text(address, encoding="ascii")
        file.with_suffix(".new").rename(file)

    serve(app, port=0, announce=announce)


if __name__ == "__main__":
    answer(Path(sys.argv[1]), json.loads(sys.argv[2]))
