"""The other end of `neuronspec.evaluation.comet`: a process in COMET's own environment that loads and scores.

It runs there as a script (`python -I comet_worker.py`), so it imports only the standard library, torch and comet,
and its syntax is that of Python 3.8. It reads one JSON request a line on stdin and answers each with one JSON line
on stdout: the first opens a model, each later one scores a test set. Whatever libraries print goes to stderr. It
ends with the process that started it, however that one ends.

COMET's checkpoints are pickles, and COMET's own loader reads them. With torch 2.6 and lightning 2.6 or newer it
refuses one that holds more than weights and plain values; older versions run whatever code is in it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import queue
import re
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO


class WorkerError(Exception):
    """An error that the user can fix, in a sentence; `setup` is True if the environment is wrong."""

    def __init__(self, message: str, setup: bool = False) -> None:
        super().__init__(message)
        self.setup = setup


class Scorer:
    """A COMET model on its device.

    Args:
        model: Directory or checkpoint on this machine, or else a name on the hub.
        device: Device of the model: `auto`, `cpu` or `cuda`.
    """

    def __init__(self, model: str, device: str) -> None:
        try:
            # Imported here, not above, so that a broken environment becomes an answer and not a traceback.
            torch, comet = importlib.import_module("torch"), importlib.import_module("comet")
            version = importlib.metadata.version("unbabel-comet")
        except Exception as error:  # old libraries among new ones fail in many ways
            message = f"COMET cannot be imported by {sys.executable}: {describe(error)}."
            raise WorkerError(message, setup=True) from error

        # `auto` takes a GPU if there is one; `cuda` insists on it.
        self.cuda = device != "cpu" and bool(torch.cuda.is_available())
        if device == "cuda" and not self.cuda:
            raise WorkerError(f"{sys.executable} finds no CUDA device; give device='cpu' or device='auto'")

        # The files behind a name can change, so the signature has the hash of the checkpoint, too.
        name, checkpoint = find_checkpoint(model, comet)
        try:
            digits = hash_file(checkpoint)[:8]
            self.model = comet.load_from_checkpoint(str(checkpoint))
        except Exception as error:
            if "Weights only load failed" in str(error):
                reason = (
                    "it holds more than weights - if you trust it, set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 and retry"
                )
            else:
                reason = f"{describe(error)} - the files of its encoder must be on this machine or the hub within reach"
            raise WorkerError(f"the COMET model {model!r} cannot be loaded: {reason}") from error

        # What a score must be reported with.
        self.signature = f"comet|model:{name}|checkpoint:{digits}|precision:fp32|unbabel-comet:{version}"

    def score(self, sentences: list[list[str]], batch_size: int) -> list[float]:
        """Score (source, hypothesis, reference) in their order, in float32, without COMET's cache of embeddings."""
        samples = [{"src": source, "mt": hypothesis, "ref": reference} for source, hypothesis, reference in sentences]
        try:
            found = self.model.predict(
                samples,
                batch_size=batch_size,
                gpus=int(self.cuda),
                accelerator="cuda" if self.cuda else "cpu",
                num_workers=0,  # it starts no processes of its own
                progress_bar=False,
            )
            scores = [float(score) for score in found["scores"]]
        except Exception as error:
            raise WorkerError(
                f"COMET cannot score this test set: {describe(error)} - where memory ran out, give a smaller batch_size"
            ) from error

        # Scores are assigned to sentences by their order.
        if len(scores) != len(samples):
            raise WorkerError(f"the COMET model gave {len(scores)} scores for {len(samples)} sentences")
        return scores


def find_checkpoint(model: str, comet: Any) -> tuple[str, Path]:
    """Return a model's name for the signature, and its checkpoint, downloaded if it is on the hub."""
    # A checkpoint on this machine.
    path = Path(model).expanduser()
    checkpoint = path / "checkpoints" / "model.ckpt" if path.is_dir() else path
    if checkpoint.is_file():
        # A checkpoint lies in the folder `checkpoints` of its model.
        folder = checkpoint.resolve().parent.parent
        if not (folder / "hparams.yaml").is_file():
            raise WorkerError(
                f"{folder / 'hparams.yaml'} does not exist; COMET saves it with a checkpoint and needs it"
            )
        return re.sub(r"[|:\s]", "_", folder.name), checkpoint.resolve()  # these separate the fields of a signature

    # A path that leads nowhere is no name on the hub.
    if path.is_dir() or path.suffix == ".ckpt" or path.is_absolute():
        raise WorkerError(f"the COMET checkpoint {checkpoint} does not exist; give its directory or the .ckpt file")

    try:
        # Everything else is a name on the hub.
        return model, Path(comet.download_model(model))
    except Exception as error:  # COMET says only that it knows no such model; why is at the end of the chain
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        raise WorkerError(
            f"the COMET model {model!r} cannot be fetched: {describe(cause)} - check its name and the connection (some "
            "models need a login to the hub), or give a checkpoint on this machine"
        ) from error


def describe(error: BaseException) -> str:
    """Return the class of an error and the first line of its message."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        # Checkpoints have gigabytes: a megabyte at a time.
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def serve() -> None:
    """Answer requests until the process that sends them is gone."""
    # Libraries may read from stdin and print to stdout: neither must reach the requests and the answers.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)

    # Requests are read by a thread of their own, which ends the process when they end.
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, lines), daemon=True).start()

    # The first request opens a model. Errors that the user can fix are answers; any other error ends the process, and
    # its traceback explains why.
    scorer = None
    while True:
        request = json.loads(lines.get())
        answer: dict[str, Any]
        try:
            if scorer is None:
                scorer = Scorer(**request)
                answer = {"signature": scorer.signature}
            else:
                answer = {"scores": scorer.score(**request)}
        except WorkerError as error:
            answer = {"error": str(error), "setup": error.setup}

        # Sent at once: the other process waits for this line.
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _receive(requests: BinaryIO, lines: queue.SimpleQueue[bytes]) -> None:
    """Pass requests on, and end the process when they end, even in the middle of a test set."""
    for line in requests:
        lines.put(line)

    # `sys.exit` would end this thread only.
    os._exit(0)


if __name__ == "__main__":
    serve()
