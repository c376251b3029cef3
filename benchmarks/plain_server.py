"""A plain translation server, to compare with: it calls CTranslate2 as LibreTranslate does, one request at a time.

python -m benchmarks.plain_server PORT EXPORT ...
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio.to_thread
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoTokenizer

from benchmarks.http_load import HOST
from neuronspec.exports.ct2_usage import CT2Usage, translate_alone
from neuronspec.libraries import import_library

THREADS = 4  # LibreTranslate's default number of threads that handle requests
BEAMS = 5


class Wanted(BaseModel):
    """A request, with the fields of LibreTranslate."""

    q: str
    source: str
    target: str
    format: str = "text"


def build_app(translators: dict[str, Callable[[str], str]]) -> FastAPI:
    """Return an application that calls the translator of a direction with each text, alone."""

    @contextlib.asynccontextmanager
    async def limit_threads(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield

    app = FastAPI(lifespan=limit_threads)

    @app.get("/health")
    def check_health() -> dict[str, str]:
        return {"status": "ok"}

    # Not async: each request has one of the threads until it is answered
    @app.post("/translate")
    def translate(wanted: Wanted) -> dict[str, str]:
        return {"translatedText": translators[f"{wanted.source}-{wanted.target}"](wanted.q)}

    return app


def open_translator(usage: CT2Usage, directory: Path) -> Callable[[str], str]:
    """Return what translates a text with an export, one text after the other."""
    tokenizer = AutoTokenizer.from_pretrained(str(directory))
    # One batch at a time in each model, as ARGOS_INTER_THREADS is by default; OMP_NUM_THREADS limits its threads
    ctranslate2 = import_library("ctranslate2", "This benchmark", "ct2")
    translator = ctranslate2.Translator(str(directory), inter_threads=1)
    alone = threading.Lock()

    def translate(text: str) -> str:
        with alone:
            (ids,) = translate_alone(usage, translator, tokenizer, [text], BEAMS)
        decoded: str = tokenizer.decode(ids, skip_special_tokens=True)
        return decoded

    return translate


def main() -> None:
    port, *directories = sys.argv[1:]
    translators = {}
    for directory in map(Path, directories):
        # The benchmark has written next to an export how it is called
        usage = CT2Usage(**json.loads(directory.with_suffix(".json").read_text(encoding="utf-8")))
        translators[usage.task] = open_translator(usage, directory)
    uvicorn.run(build_app(translators), host=HOST, port=int(port), log_level="error")


if __name__ == "__main__":
    main()
