"""The card that goes to the Hugging Face hub with masks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def make_mask_card(
    name: str, tasks: Sequence[str], sparsity: Mapping[str, NDArray[np.float64]], signature: Mapping[str, str]
) -> str:
    """Return the card of masks for the hub: what they are, how to use them, and how they came about.

    Args:
        name: Name of the repository, `owner/name`.
        tasks: Names of the tasks.
        sparsity: For each layer, the (tasks,) share of neurons that are switched off.
        signature: Facts about how the masks came about.

    Returns:
        Text of `README.md`, in Markdown.
    """
    lines = [
        # Front matter, by which the hub finds and sorts the repository
        "---",
        "library_name: neuronspec",
        "tags: [neuronspec, neuron-specialization, translation]",
        "---",
        "",
        # What the masks are, and how to use them
        f"# {name.rpartition('/')[2]}",
        "",
        f"Neuron masks for {len(tasks)} task{'s' * (len(tasks) != 1)}: the feed-forward neurons of each, to be "
        "switched on for it alone (*Neuron Specialization*, Tan, Wu and Monz, EMNLP 2024).",
        "",
        "```python",
        "import neuronspec as ns",
        "",
        f'ns.specialize(model, ns.NeuronMasks.from_pretrained("{name}"))',
        f"model(**inputs, tasks=[{json.dumps(tasks[0], ensure_ascii=False)}])",
        "```",
        "",
        f"Tasks: {_escape_cell(', '.join(tasks))}",
        "",
        # Facts about these masks
        "| layer | switched off, mean over tasks |",
        "|---|---|",
        *(f"| {layer} | {100 * off.mean():.1f} % |" for layer, off in sparsity.items()),
        "",
        "| signature | |",
        "|---|---|",
        *(f"| {_escape_cell(key)} | {_escape_cell(value)} |" for key, value in sorted(signature.items())),
        "",
    ]
    return "\n".join(lines)


def _escape_cell(text: str) -> str:
    """Return text that stays in its cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
