"""The card of an export: its use, its proof, its size and speed, and the signature of its masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neuronspec.artifacts.cards import (
    CITATION,
    PAPER,
    escape_cell,
    escape_code,
    escape_text,
    make_front_matter,
    make_table,
)
from neuronspec.exports.formats import Written
from neuronspec.exports.proof import GREEDY, Proof

LISTED = 12  # tasks in a heading


@dataclass(frozen=True, kw_only=True)
class ExportFacts:
    """The facts on the card of an export.

    Attributes:
        format: Name of the format.
        summary: One line about the format.
        tasks: Names of the exported tasks.
        base_model: Directory or name of the model; empty if unknown.
        masked: Whether the export has masks; otherwise it is the dense model.
        steered: Whether the export has the factors of a steering.
        written: Parameters, notes and usage, as the format gives them.
        bytes: Bytes of the export.
        dense_bytes: Bytes of the dense model's Hugging Face directory.
        dense_parameters: Number of its parameters.
        proof: The proof.
        place: Where speed was measured: device, threads, version of PyTorch.
        signature: Facts that the export depends on, as strings.
        version: Version of this package.
    """

    format: str
    summary: str
    tasks: Sequence[str]
    base_model: str
    masked: bool
    written: Written
    bytes: int
    dense_bytes: int
    dense_parameters: int
    proof: Proof
    place: str
    signature: Mapping[str, str]
    version: str
    steered: bool = False

    @property
    def model(self) -> str:
        """Name of the model that the export must equal."""
        if self.steered:
            return "the masked and steered model" if self.masked else "the steered model"
        return "the masked model" if self.masked else "the model"

    @property
    def changes(self) -> str:
        """Name of what changes the outputs of the dense model."""
        if self.steered:
            return "the masks and the steering" if self.masked else "the steering"
        return "the masks"


def make_export_card(facts: ExportFacts) -> str:
    """Return the text of an export's `README.md`, in Markdown with the front matter of the hub."""
    what = "the model with the neuron masks" if facts.masked else "the dense model"
    what += " and a steering" if facts.steered else ""
    sections = [
        make_front_matter({**facts.written.hub, "tags": ["neuronspec", "neuron-specialization", facts.format]}),
        [f"# {escape_text(_name_tasks(facts.tasks))}: {escape_text(facts.format)}"],
        [
            f"Exported by neuronspec {facts.version} as {escape_code(facts.format)} ({escape_text(facts.summary)}): "
            f"{what} of {escape_code(_name_tasks(facts.tasks))}{_name_origin(facts.base_model)}."
        ],
        list(facts.written.notes),
        ["## Use", "", *facts.written.usage] if facts.written.usage else [],
        ["## Proof", "", *_describe_proof(facts)],
        ["## Size and speed", "", *_describe_size(facts)],
        ["## Signature", "", *_describe_signature(facts.signature)],
        ["## Cite", "", f"The method: {PAPER}.", "", "```bibtex", CITATION, "```"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _name_tasks(tasks: Sequence[str]) -> str:
    more = f" and {len(tasks) - LISTED} more" if tasks[LISTED:] else ""
    return ", ".join(tasks[:LISTED]) + more


def _name_origin(base_model: str) -> str:
    return f", made from {escape_code(base_model)}" if base_model else ""


def _describe_proof(facts: ExportFacts) -> list[str]:
    titles = ["task", "search", "sentences", f"changed by {facts.changes}", "equal", f"chrF++ against {facts.model}"]
    rows = []
    for one in facts.proof.agreements:
        search = "greedy" if one.beams == GREEDY else f"beam {one.beams}"
        changed = "" if one.changed is None else f"{one.changed:,}"
        numbers = [f"{one.sentences:,}", changed, f"{one.equal:,}", f"{one.chrf:.1f}"]
        rows.append([escape_code(one.task), search, *numbers])
    return [
        f"The export was read again from disk, and its answers were compared with those of {facts.model} in "
        "transformers, token by token.",
        "",
        *make_table(titles, rows),
    ]


def _describe_size(facts: ExportFacts) -> list[str]:
    parameters = "none" if facts.written.parameters is None else f"{facts.written.parameters:,}"
    rows = [
        ["dense model", f"{facts.dense_parameters:,}", f"{facts.dense_bytes:,}", ""],
        ["masked model in transformers", "", "", f"{facts.proof.masked_speed:,.2f}"],
        ["this export", parameters, f"{facts.bytes:,}", f"{facts.proof.export_speed:,.2f}"],
    ]
    return [
        *make_table(["", "parameters", "bytes", "sentences a second"], rows),
        "",
        f"Speed: the sentences of the proof with a beam of 5, one side after the other ({escape_text(facts.place)}). "
        "Bytes: all files; of the dense model, those of its Hugging Face directory.",
    ]


def _describe_signature(signature: Mapping[str, str]) -> list[str]:
    rows = [[escape_cell(key), escape_cell(value)] for key, value in signature.items()]
    return make_table(["", ""], rows)
