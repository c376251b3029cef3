"""Exporting: writing a format, proving it, measuring it, and publishing it whole or not at all."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.artifacts.cards import CARD_FILE
from neuronspec.exports.export_card import ExportFacts, make_export_card
from neuronspec.exports.formats import DEFAULT_FORMAT, EXPORTS, ExportFormat, ExportRequest, Written
from neuronspec.exports.places import EXPORT_FILE, check_destination
from neuronspec.exports.proof import Agreement, Proof, prove
from neuronspec.exports.requests import PROOF_SENTENCES, make_request
from neuronspec.exports.sizes import count_parameters, measure_directory, measure_saved
from neuronspec.files import publish, write_json, write_text
from neuronspec.libraries import import_library
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.steering import Steering
from neuronspec.version import __version__

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Export:
    """A published export.

    Attributes:
        path: Its directory.
        format: Name of its format.
        tasks: Names of its tasks.
        parameters: Number of parameters; None if it holds no model.
        bytes: Bytes of its files, without the card.
        dense_parameters: Number of parameters of the dense model.
        dense_bytes: Bytes of its Hugging Face directory.
        agreements: Agreement with the masked model, for each task and beam size.
        masked_speed: Sentences a second of the masked model, with a beam of 5.
        export_speed: Sentences a second of the export, on the same machine.
        signature: Facts that the export depends on, as strings.
    """

    path: Path
    format: str
    tasks: tuple[str, ...]
    parameters: int | None
    bytes: int
    dense_parameters: int
    dense_bytes: int
    agreements: tuple[Agreement, ...]
    masked_speed: float
    export_speed: float
    signature: Mapping[str, str]

    @property
    def changes(self) -> str:
        """Beginning of a sentence about what changes the outputs of the dense model: `the masks change`."""
        if "steering" not in self.signature:
            return "the masks change"
        return "masks and steering change" if "masks.sparsity" in self.signature else "the steering changes"

    def to_json(self) -> dict[str, Any]:
        """Return all facts as JSON values."""
        return dataclasses.asdict(self) | {"path": str(self.path), "signature": dict(self.signature)}


def export(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    masks: NeuronMasks | None = None,
    *,
    task: str | Sequence[str] | None = None,
    out: str | Path,
    sentences: Sequence[str] | Mapping[str, Sequence[str]],
    format: str = DEFAULT_FORMAT,
    dense: bool = False,
    steering: Steering | Sequence[Steering] = (),
    pivot: str = "en",
    force: bool = False,
    limit: int = PROOF_SENTENCES,
    max_tokens: int | None = None,
    source: str = "",
    **options: Any,
) -> Export:
    """Export a model for a task, or its masks, to a format of another tool, and prove that it answers the same.

    The export is written to a temporary place and read again from there. Only if its greedy translations and those
    with a beam of 5 equal those of the masked model (for formats of lower precision: are close enough), it is
    published, with a card that has the proof, the size and the speed.

    Args:
        model: Model, specialized or not; afterwards it is as it was.
        tokenizer: Tokenizer of the model.
        masks: Masks that include the task; by default those that the model is specialized with.
        task: Task, or several for formats of several tasks, whose default is all tasks of the masks. A direction
            without masks is composed (zero-shot).
        out: Directory of the export, which must not exist.
        sentences: Real source sentences for the proof: a list for a single task, or lists by task.
        format: Name of an entry of `EXPORTS`.
        dense: Whether to export the model without masks.
        steering: Changes of chosen neurons to export as well, one or several; a format that holds factors of neurons
            (`ia3`) takes those that scale. Then the masks may be missing.
        pivot: Language that the trained directions share, for zero-shot masks.
        force: Whether to replace an earlier export in `out`.
        limit: Largest number of sentences of each task to prove the export with.
        max_tokens: Largest number of tokens of an answer; by default 200 for translations, 32 for continuations.
        source: Directory of the model or its name on the hub, for the card.
        **options: Options of the format.

    Raises:
        NeuronspecError: If model, masks, tasks and format do not fit together, the place is taken or the disk full, or
            the export does not equal the masked model. Nothing is published then.
    """
    chosen = EXPORTS[format]
    out = Path(out)
    check_destination(out, force)
    request = make_request(
        chosen,
        format,
        model,
        tokenizer,
        masks,
        task=task,
        sentences=sentences,
        dense=dense,
        pivot=pivot,
        limit=limit,
        max_tokens=max_tokens,
        source=source,
        options=options,
        steering=steering,
    )
    if chosen.library:
        import_library(chosen.library, f"The format {format}", chosen.extra)

    # Whatever fails, the temporary directory disappears and nothing is published.
    with publish(out) as temporary:
        temporary.mkdir()
        written = chosen.write(request, temporary)
        size = measure_directory(temporary)

        logger.info("proving the export on %d sentences", sum(map(len, request.sentences.values())))
        proof = prove(chosen, request, temporary)

        finished = _gather(format, request, written, size=size, proof=proof, out=out)
        _write_notes(finished, chosen, request, written, proof=proof, directory=temporary)
    return finished


def _gather(format: str, request: ExportRequest, written: Written, *, size: int, proof: Proof, out: Path) -> Export:
    masks = request.masks
    signature = {
        "format": format,
        "tasks": ", ".join(request.tasks),
        **{key: str(value) for key, value in request.options.model_dump(mode="json").items()},
        **written.signature,
        "dtype": str(request.model.dtype).removeprefix("torch."),
        "version": __version__,
    }
    if masks is not None:
        signature |= {f"masks.{key}": value for key, value in sorted(masks.signature.items())}
        signature["masks.sparsity"] = f"{masks.mean_sparsity():.4f}"

    if request.steerings:
        signature["steering"] = "; ".join(map(repr, request.steerings))

    return Export(
        path=out,
        format=format,
        tasks=request.tasks,
        parameters=written.parameters,
        bytes=size,
        dense_parameters=count_parameters(request.model),
        dense_bytes=measure_saved(request.model, request.tokenizer),
        agreements=proof.agreements,
        masked_speed=proof.masked_speed,
        export_speed=proof.export_speed,
        signature=signature,
    )


def _write_notes(
    finished: Export,
    chosen: ExportFormat,
    request: ExportRequest,
    written: Written,
    *,
    proof: Proof,
    directory: Path,
) -> None:
    """Write the card of an export for people, and the same facts for programs."""
    threads = torch.get_num_threads()
    device = request.model.device.type
    place = f"{device}, {threads} thread{'s' * (threads != 1)}, PyTorch {torch.__version__}"
    facts = ExportFacts(
        format=finished.format,
        summary=chosen.summary,
        tasks=finished.tasks,
        base_model=request.source,
        masked=request.masks is not None,
        steered=bool(request.steerings),
        written=written,
        bytes=finished.bytes,
        dense_bytes=finished.dense_bytes,
        dense_parameters=finished.dense_parameters,
        proof=proof,
        place=place,
        signature=finished.signature,
        version=__version__,
    )
    write_text(directory / CARD_FILE, make_export_card(facts))

    # Not the path, which others may change
    values = finished.to_json()
    del values["path"]
    write_json(directory / EXPORT_FILE, values)
