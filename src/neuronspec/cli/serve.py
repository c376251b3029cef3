"""`neuronspec serve`: a translation service over HTTP, for clients of LibreTranslate and others."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from neuronspec.cli.choices import list_engines
from neuronspec.cli.decoding_options import EarlyStoppingOption
from neuronspec.cli.loading_options import (
    DeviceMapOption,
    NumberChoice,
    NumberOption,
    QuantizeOption,
    describe_loading,
)
from neuronspec.cli.options import AsJson, Threads
from neuronspec.cli.printing import note, print_json, quiet_libraries
from neuronspec.cli.served_source import ExportsOption, MemoryLimitOption, ServedSource
from neuronspec.cli.system_options import SystemOptions
from neuronspec.cli.text_options import SourcePrefixOption
from neuronspec.libraries import find_library
from neuronspec.processes import work_alone
from neuronspec.serving.engine import BEAMS
from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.listening import open_listener
from neuronspec.serving.options import ServingOptions
from neuronspec.serving.tokens import read_token
from neuronspec.translation.engines import DEFAULT_ENGINE

PORT = 5000  # that of LibreTranslate
LIMITS = ServingLimits()
_PANEL_ACCESS = "Who may use it"
_PANEL_LIMITS = "Limits"

EXAMPLES = (
    ("A model with the directions of its masks, for programs on this machine", "neuronspec serve --model DIR"),
    ("Chosen directions, on any free port", "neuronspec serve --model DIR --task en-de,de-en --port 0"),
    (
        "Exports for CTranslate2, as many in memory as fit into 8 GB",
        "neuronspec serve --exports exports/ --memory-limit 8GB",
    ),
    (
        "For other machines, which need the token in the file",
        "neuronspec serve --model DIR --host 0.0.0.0 --token-file token.txt",
    ),
)


def serve(
    context: typer.Context,
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
    pivot: Annotated[
        str, typer.Option("--pivot", help="Language that the trained directions share, for zero-shot masks.")
    ] = "en",
    beams: Annotated[int, typer.Option(min=1, help="Beam size of requests that name none.")] = BEAMS,
    engine: Annotated[
        str, typer.Option(help="Engine that decodes: {engines}.", autocompletion=list_engines)
    ] = DEFAULT_ENGINE,
    compute_type: Annotated[str, typer.Option(help="Precision of ctranslate2: int8, float16 ...")] = "default",
    early_stopping: EarlyStoppingOption = None,
    source_prefix: SourcePrefixOption = None,
    dtype: NumberOption = NumberChoice.float32,
    device_map: DeviceMapOption = None,
    quantize: QuantizeOption = None,
    exports: ExportsOption = None,
    memory_limit: MemoryLimitOption = None,
    threads: Threads = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 chooses a free one.")
    ] = PORT,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            help="Address to listen on; any but those of this machine alone needs a token.",
            rich_help_panel=_PANEL_ACCESS,
        ),
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="File with the token that requests must carry; or set the variable NEURONSPEC_TOKEN.",
            rich_help_panel=_PANEL_ACCESS,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Further name of the service in the header Host, such as one that a proxy passes on. Repeatable.",
            rich_help_panel=_PANEL_ACCESS,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="ORIGIN",
            help="Origin of other web pages that may use the service: https://example.org. Repeatable.",
            rich_help_panel=_PANEL_ACCESS,
        ),
    ] = None,
    max_texts: Annotated[
        int, typer.Option("--max-texts", min=1, help="Texts of a request.", rich_help_panel=_PANEL_LIMITS)
    ] = LIMITS.sentences,
    max_characters: Annotated[
        int, typer.Option("--max-characters", min=1, help="Characters of a request.", rich_help_panel=_PANEL_LIMITS)
    ] = LIMITS.characters,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, help="Bytes of a request.", rich_help_panel=_PANEL_LIMITS)
    ] = LIMITS.body,
    queue: Annotated[
        int,
        typer.Option("--queue", min=1, help="Texts that may wait, of all requests.", rich_help_panel=_PANEL_LIMITS),
    ] = LIMITS.queue,
    connections: Annotated[
        int, typer.Option("--connections", min=1, help="Connections at a time.", rich_help_panel=_PANEL_LIMITS)
    ] = LIMITS.connections,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=0.1, help="Seconds until a request must have its answer.", rich_help_panel=_PANEL_LIMITS
        ),
    ] = LIMITS.request_seconds,
    batch_tokens: Annotated[
        int,
        typer.Option(
            "--batch-tokens",
            min=1,
            help="Source tokens of a batch, times beams: more is faster in all and slower for each.",
            rich_help_panel=_PANEL_LIMITS,
        ),
    ] = LIMITS.batch_tokens,
    as_json: AsJson = False,
) -> None:
    """Translate for other programs over HTTP, through LibreTranslate's API or one for any mix of directions."""
    system = (
        None
        if model is None
        else SystemOptions(
            model=model,
            masks=masks,
            dense=dense,
            pivot=pivot,
            beams=beams,
            engine=engine,
            compute_type=compute_type,
            early_stopping=early_stopping,
            source_prefix=source_prefix,
            loading=describe_loading(dtype, device_map, quantize),
        )
    )
    source = ServedSource(
        system=system,
        tasks=[name for given in task or [] for name in given.split(",") if name],
        exports=exports or (),
        memory_limit=memory_limit,
        threads=threads,
    )
    for library in ("fastapi", "uvicorn", "prometheus_client"):
        find_library(library, "The service", "serve")
    limits = ServingLimits(
        body=max_body,
        sentences=max_texts,
        characters=max_characters,
        beams=max(beams, LIMITS.beams),
        queue=queue,
        queue_characters=max(max_characters, LIMITS.queue_characters),
        connections=connections,
        request_seconds=timeout,
        stop_seconds=timeout,
        batch_tokens=batch_tokens,
    )
    limits.check()
    options = ServingOptions(
        host=host, hosts=allow_host or (), origins=allow_origin or (), token=read_token(token_file), beams=beams
    )
    options.check()

    quiet_libraries()
    source.check(context)
    work_alone()
    from neuronspec.serving import make_app
    from neuronspec.serving import serve as answer_requests

    def announce(address: str) -> None:
        if as_json:
            print_json({"address": address, "tasks": list(opened.tasks)}, indent=None)
        note(f"{len(opened.tasks)} directions at {address}; Ctrl-C stops", err=True)

    # A port that is taken is noticed before a model is loaded.
    listener = open_listener(host, port)
    with contextlib.closing(listener.socket), source.open() as opened:
        answer_requests(make_app(opened, limits, options), listener=listener, announce=announce)
