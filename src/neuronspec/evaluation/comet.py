"""COMET, a metric learned from human ratings, run by unbabel-comet in a Python environment of its own.

unbabel-comet 2.2 needs numpy 1, transformers 4 and protobuf 4, so it cannot be installed together with neuronspec. It
gets a virtual environment, and a process there (`comet_worker.py`) loads the model and scores. The interpreter is
the argument `python`, or else the environment variable `NEURONSPEC_COMET_PYTHON`, or else that of
`~/.cache/neuronspec/comet` (under `XDG_CACHE_HOME` if it is set).

A COMET checkpoint is a pickle: COMET's own loader opens it, in that process. Use only checkpoints that you trust.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Literal

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.evaluation.metric import Metric, MetricOptions, mean_score, mean_statistics
from neuronspec.statistics.numbers import FloatArray

Device = Literal["auto", "cpu", "cuda"]
MODEL = "Unbabel/wmt22-comet-da"
WORKER = Path(__file__).with_name("comet_worker.py")  # runs in the other environment
# unbabel-comet pins protobuf 4 and torchmetrics 0.10: newer sentencepiece and setuptools do not go with these.
PACKAGES = "unbabel-comet==2.2.7 'sentencepiece<0.2.2' 'setuptools<81'"
HOME = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "neuronspec" / "comet"
SETUP = (
    f"Set it up once, with Python 3.12 or older: python -m venv {HOME} ; {HOME}/bin/pip install {PACKAGES} (or set "
    "NEURONSPEC_COMET_PYTHON to the interpreter of an environment that has unbabel-comet)"
)


@dataclass(frozen=True, eq=False)
class CometScores:
    """COMET's scores of one set of translations.

    Attributes:
        scores: Score of each sentence, (sentences,) float64; `mean_statistics(scores)` prepares a significance test.
        signature: Signature, to be reported with the scores: the model, the first 8 digits of the SHA-256 hash of its
            checkpoint, the precision, and the version of unbabel-comet.
    """

    scores: FloatArray
    signature: str

    @property
    def value(self) -> float:
        """100 times the mean of the scores, as the paper prints it: 79.1 for 0.791."""
        return 100 * float(self.scores.mean())


class Comet:
    """A loaded COMET model, which scores one test set after another; use it in a `with` statement.

    Args:
        model: Name of the model on the hub, downloaded at its first use; or a checkpoint on this machine: a directory
            with `checkpoints/model.ckpt` and `hparams.yaml`, or the `.ckpt` file in such a directory.
        python: Interpreter of the environment that has unbabel-comet; see the module.
        batch_size: Number of sentences scored at once. It changes the padding, and so the last digits of scores.
        device: Device of the model; `auto` is a GPU if the environment's torch finds one.

    Raises:
        NeuronspecError: If the environment, the device or the model is missing or does not work.

    Example:
        >>> with Comet() as comet:  # doctest: +SKIP
        ...     german = comet.score(["A cat."], ["Eine Katze."], ["Eine Katze."])
        ...     french = comet.score(["A cat."], ["Une chatte."], ["Un chat."])
        >>> german.signature  # doctest: +SKIP
        'comet|model:Unbabel/wmt22-comet-da|checkpoint:0f3c9a71|precision:fp32|unbabel-comet:2.2.7'
    """

    def __init__(
        self,
        model: str | Path = MODEL,
        *,
        python: str | Path | None = None,
        batch_size: int = 16,
        device: Device = "auto",
    ) -> None:
        if device not in ("auto", "cpu", "cuda") or batch_size < 1:
            raise NeuronspecError(f"{device=}, {batch_size=}; give 'auto', 'cpu' or 'cuda', and a batch of 1 or more")
        self._batch_size = batch_size

        # Without the interpreter, an error explains how to set up the environment.
        interpreter = find_interpreter(python)

        # In a Slurm job, lightning would treat the worker as one process of many and refuse to run.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}

        # The process prints a lot; what it printed last explains its end.
        self._chatter = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        try:
            # -I keeps out PYTHONPATH and the folder of the worker, where this very file would be imported as COMET.
            command = (interpreter, "-I", WORKER)
            self._process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=self._chatter, env=environment)
        except OSError as error:
            raise NeuronspecError(f"cannot run {interpreter}: {first_line(error)}. {SETUP}") from error

        # The first request loads the model; without one there is no process either.
        try:
            self.signature: str = self._ask(model=str(model), device=device)["signature"]
        except BaseException:
            self.close()
            raise

    def score(self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> CometScores:
        """Score a set of translations, as COMET's Python API does (the command `comet-score` rounds to fp16).

        Args:
            sources: Sentences that were translated.
            hypotheses: Detokenized translations in the same order; any may be empty.
            references: Detokenized reference translations in the same order.

        Returns:
            A score for each sentence, in the same order, and the signature.

        Raises:
            NeuronspecError: If there are no sentences, not as many of each, a score is not finite, or the process
                died.
        """
        if not len(sources) == len(hypotheses) == len(references) > 0:
            raise NeuronspecError(
                f"there are {len(sources)} sources, {len(hypotheses)} hypotheses and {len(references)} references; "
                "give as many of each, and at least one: look for lost, empty or doubled lines"
            )

        # One request for the whole test set: the worker makes the batches.
        sentences = list(zip(sources, hypotheses, references, strict=True))
        answer = self._ask(sentences=sentences, batch_size=self._batch_size)

        # `mean_statistics` refuses scores that are not finite numbers; its first column is the scores.
        return CometScores(mean_statistics(answer["scores"])[:, 0].copy(), self.signature)

    def close(self) -> None:
        """End the process."""
        if not self._chatter.closed:
            self._process.kill()
            self._process.communicate()  # waits for the end, and closes the pipes
            self._chatter.close()

    def __enter__(self) -> Comet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer; end a process that does not answer or is interrupted."""
        if self._chatter.closed:
            raise NeuronspecError("this COMET process has ended; start another")
        assert self._process.stdin
        assert self._process.stdout

        # One line is sent, and one comes back.
        line = b""
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            pass  # it died before it read everything
        except BaseException:
            self.close()
            raise

        # A process that dies leaves no line, or the beginning of one.
        if not line.endswith(b"\n"):
            raise NeuronspecError(f"the COMET process died: {self._bury()}")

        # Errors that the user can fix come as answers, and the process lives on.
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise NeuronspecError(answer["error"] + (f" {SETUP}" if answer["setup"] else ""))
        return answer

    def _bury(self) -> str:
        """Return the last line that a dead process printed, and how it ended."""
        # Python prints the error itself last, below the traceback.
        code = self._process.wait()
        self._chatter.seek(0)
        printed = self._chatter.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
        self.close()

        end = f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
        # SIGKILL, which the system sends where memory runs out.
        if code == -9:
            end += ", perhaps for want of memory"
        return f"{printed[-1].strip()} ({end})"


@dataclass(frozen=True)
class CometMetric(Metric):
    """COMET as a metric: the statistic of a sentence is 100 times its score, so tests and averages work as for others.

    Attributes:
        comet: Loaded model; None until the metric is opened.
    """

    comet: Comet | None = None

    @classmethod
    def of(cls, comet: Comet) -> CometMetric:
        """Return the metric of a loaded model."""
        return replace(COMET, comet=comet)

    def check(self) -> None:
        """Refuse COMET without its environment."""
        find_interpreter()

    def list_files(self, options: MetricOptions) -> Sequence[Path]:
        """Return the checkpoint and its parameters, where the model is on this machine and no name on the hub."""
        path = Path(options.comet_model or MODEL).expanduser()
        if not (path.exists() or path.suffix == ".ckpt" or path.is_absolute()):
            return []

        # A checkpoint lies in the folder `checkpoints` of its model.
        checkpoint = path / "checkpoints" / "model.ckpt" if path.suffix != ".ckpt" else path
        return [checkpoint, checkpoint.resolve().parent.parent / "hparams.yaml"]

    @contextmanager
    def open(self, options: MetricOptions) -> Iterator[Metric]:
        """Load COMET's model, and end its process with the context."""
        device: Device = "cpu" if options.cpu else "auto"
        with Comet(options.comet_model or MODEL, device=device) as comet:
            yield self.of(comet)

    def signature(self, target_language: str) -> str:
        """Return the model, its checkpoint's hash, the precision, and the version of unbabel-comet."""
        return self._loaded.signature

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        target_language: str,
        sources: Sequence[str] | None = None,
    ) -> FloatArray:
        """Score with COMET, which needs the sources."""
        if sources is None:
            raise NeuronspecError("COMET reads the sources, too: give them (--sources)")

        # 100 times the scores, as tables print them; differences are then in points, like those of BLEU.
        return mean_statistics(100 * self._loaded.score(sources, hypotheses, references).scores)

    @property
    def _loaded(self) -> Comet:
        if self.comet is None:
            raise NeuronspecError('COMET has no model yet; use the metric in a `with open_metrics(["comet"])` block')
        return self.comet


COMET = CometMetric(
    name="COMET",
    higher_is_better=True,
    score=mean_score,
    description="a neural metric learned from human ratings; needs an environment of its own",
)


def comet_scores(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    model: str | Path = MODEL,
    *,
    python: str | Path | None = None,
    batch_size: int = 16,
    device: Device = "auto",
) -> CometScores:
    """Score one test set with COMET; for several, `Comet` loads the model only once.

    Arguments and errors are those of `Comet` and `Comet.score`.

    Example:
        >>> result = comet_scores(["A cat."], ["Eine Katze."], ["Eine Katze."])  # doctest: +SKIP
        >>> rows = mean_statistics(result.scores)  # doctest: +SKIP
    """
    with Comet(model, python=python, batch_size=batch_size, device=device) as comet:
        return comet.score(sources, hypotheses, references)


def find_interpreter(given: str | Path | None = None) -> Path:
    """Return the interpreter of the environment that has unbabel-comet.

    Raises:
        NeuronspecError: If it does not exist.
    """
    # The argument comes first, then the environment variable, then the usual place.
    path = Path(given or os.environ.get("NEURONSPEC_COMET_PYTHON") or HOME / "bin" / "python").expanduser()
    if not path.is_file():
        raise NeuronspecError(f"COMET needs an environment of its own, but {path} does not exist. {SETUP}")
    return path
