"""`neuronspec serve`: a translation service over HTTP, for clients of LibreTranslate and others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuronspec.cli.choices import list_engines
from neuronspec.cli.options import Threads
from neuronspec.cli.printing import quiet_libraries
from neuronspec.errors import NeuronspecError
from neuronspec.libraries import find_library
from neuronspec.models.directories import check_directory
from neuronspec.processes import work_alone
from neuronspec.translation.engines import DEFAULT_ENGINE, resolve_engine

PORT = 5000  # that of LibreTranslate
EXAMPLES = (
    ("A model with the directions of its masks, for programs on this machine", "neuronspec serve --model DIR"),
    ("Chosen directions, on any free port", "neuronspec serve --model DIR --task en-de,de-en --port 0"),
)


def serve(
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="Model: a directory or a name on the Hugging Face hub."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="TASK[,TASK...]",
            help="Directions to offer; by default those that the masks of the model have.",
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Neuron masks to specialize the model with; by default those stored with the model."),
    ] = None,
    dense: Annotated[bool, typer.Option("--dense", help="Use no masks, even if the model has some.")] = False,
    engine: Annotated[
        str, typer.Option(help="Engine that decodes: {engines}.", autocompletion=list_engines)
    ] = DEFAULT_ENGINE,
    compute_type: Annotated[str, typer.Option(help="Precision of ctranslate2: int8, float16 ...")] = "default",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 chooses a free one.")
    ] = PORT,
    threads: Threads = None,
) -> None:
    """Translate for other programs over HTTP."""
    if model is None:
        raise NeuronspecError("give a model: neuronspec serve --model DIR")
    for library in ("fastapi", "uvicorn", "prometheus_client"):
        find_library(library, "The service", "serve")

    work_alone()
    quiet_libraries()
    check_directory(model)  # before what loads it is imported, which takes seconds
    from neuronspec.serving import make_app, open_serving_engine
    from neuronspec.serving import serve as answer
    from neuronspec.translation.system import TranslationSystem

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    system = TranslationSystem(
        model=model,
        masks=masks,
        dense=dense,
        pivot="en",
        beams=5,
        engine=resolve_engine(engine),
        compute_type=compute_type,
        early_stopping=None,
        too_long="cut",
        source_prefix=None,
    )
    tasks = [name for given in task or [] for name in given.split(",") if name]
    with open_serving_engine(system, tasks) as opened:
        answer(make_app(opened), host=host, port=port)
