"""The card that goes to the Hugging Face hub with masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from neuronspec.artifacts.cards import PAPER, escape_cell, make_front_matter, make_table, quote_python


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
    tags = ["neuronspec", "neuron-specialization", "translation"]
    layers = [[layer, f"{100 * off.mean():.1f} %"] for layer, off in sparsity.items()]
    facts = [[escape_cell(key), escape_cell(value)] for key, value in sorted(signature.items())]

    lines = [
        *make_front_matter({"library_name": "neuronspec", "tags": tags}),
        "",
        # What the masks are, and how to use them
        f"# {name.rpartition('/')[2]}",
        "",
        f"Neuron masks for {len(tasks)} task{'s' * (len(tasks) != 1)}: the feed-forward neurons of each, to be "
        f"switched on for it alone ({PAPER}).",
        "",
        "```python",
        "import neuronspec as ns",
        "",
        f'ns.specialize(model, ns.NeuronMasks.from_pretrained("{name}"))',
        f"model(**inputs, tasks=[{quote_python(tasks[0])}])",
        "```",
        "",
        f"Tasks: {escape_cell(', '.join(tasks))}",
        "",
        # Facts about these masks
        *make_table(["layer", "switched off, mean over tasks"], layers),
        "",
        *make_table(["signature", ""], facts),
        "",
    ]
    return "\n".join(lines)
