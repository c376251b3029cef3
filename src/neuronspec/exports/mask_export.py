"""The format `masks`: the masks of some tasks, without the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from neuronspec.artifacts.cards import quote_python
from neuronspec.exports.answers import open_answers
from neuronspec.exports.formats import Answer, ExportRequest, Written
from neuronspec.exports.reference import use_masked
from neuronspec.neurons.masks import NeuronMasks


def write_masks(request: ExportRequest, directory: Path) -> Written:
    """Write the masks of the tasks as one file.

    Args:
        request: Masks.
        directory: Empty directory to write into.
    """
    assert request.masks is not None
    request.masks.save_pretrained(directory)

    usage = (
        "```python",
        "import neuronspec as ns",
        "",
        'ns.specialize(model, ns.NeuronMasks.from_pretrained("."))',
        f"model.generate(**inputs, tasks=[{quote_python(request.tasks[0])}])",
        "```",
    )
    return Written(usage=usage, hub={"library_name": "neuronspec"})


@contextlib.contextmanager
def open_masks(request: ExportRequest, directory: Path) -> Iterator[Answer]:
    """Open exported masks: the model of the request computes with them.

    Args:
        request: Request of the export.
        directory: Directory of the export.
    """
    with use_masked(request.model, NeuronMasks.from_pretrained(directory)) as masked:
        yield open_answers(masked, request.tokenizer, request.max_tokens)
