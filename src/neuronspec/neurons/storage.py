"""Mask files: one bit a neuron in safetensors, on disk and on the Hugging Face hub, with a card."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import HfApi, hf_hub_download
from numpy.typing import NDArray
from safetensors.torch import save_file

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.files import publish
from neuronspec.names import check_layers, check_names
from neuronspec.neurons.counts import read_tensors
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.version import __version__

MAX_ENTRIES = 1 << 33  # a header that claims more neurons than this is not believed

Values = Mapping[str, torch.Tensor]  # layer -> (tasks, d_ff) boolean


def write(directory: Path, tasks: Sequence[str], values: Values, signature: Mapping[str, str]) -> Path:
    """Write masks into a directory and return the file's path."""
    path = directory / MASKS_FILE
    packed = {layer: torch.from_numpy(np.packbits(mask.numpy(), axis=1)) for layer, mask in values.items()}
    header = {
        "tasks": list(tasks),
        "widths": {layer: mask.shape[1] for layer, mask in values.items()},
        "signature": dict(signature),
        "version": __version__,
    }
    with publish(path) as temporary:
        save_file(packed, temporary, {"neuronspec": json.dumps(header)})
    return path


def read(path: Path) -> tuple[list[str], dict[str, torch.Tensor], dict[str, str]]:
    """Return tasks, masks and signature of a mask file.

    Raises:
        NeuronspecError: it is missing, damaged, or no mask file.
    """
    tensors, header = read_tensors(path, "neuron masks")
    try:
        tasks, widths, signature = header["tasks"], header["widths"], header["signature"]
        _check_header(tasks, widths, signature, tensors)
        check_names(tasks, "task", path)
        check_layers(widths, path)
        values = {layer: _unpack(tensors[layer], len(tasks), width) for layer, width in widths.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NeuronspecError(f"{path} is damaged: {error}") from error
    return tasks, values, signature


def locate(source: str | Path, revision: str | None = None) -> Path:
    """Return the mask file in a directory, the file itself, or a copy of the one in a repository of the hub.

    Raises:
        NeuronspecError: the hub has no such repository or file, or cannot be reached.
    """
    path = Path(source)
    here = os.path.exists(path)  # noqa: PTH110 - of a name that is too long, Path.exists raises
    if here or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)) or str(source).startswith("."):
        return path / MASKS_FILE if here and path.is_dir() else path
    try:
        return Path(hf_hub_download(str(source), MASKS_FILE, revision=revision))
    except Exception as error:  # each version of the hub's client has errors of its own
        raise NeuronspecError(
            f"{source}: no such file or directory here, and none from the hub: {first_line(error)}"
        ) from error


def upload(
    save: Callable[[Path], Path],
    card: str,
    repository: str,
    private: bool | None,
    token: str | None,
    revision: str | None,
) -> str:
    """Upload what `save` writes to the hub, with a card unless there is one, and return the address.

    Raises:
        NeuronspecError: the hub refuses or cannot be reached.
    """
    api = HfApi(token=token, library_name="neuronspec", library_version=__version__)
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as directory:
            save(Path(directory))
            if not api.file_exists(repository, "README.md", revision=revision):
                (Path(directory) / "README.md").write_text(card, encoding="utf-8")
            api.upload_folder(
                repo_id=repository, folder_path=directory, revision=revision, commit_message="Upload neuron masks"
            )
    except Exception as error:
        raise NeuronspecError(f"cannot upload to {repository}: {first_line(error)}") from error
    return str(address)


def make_card(
    name: str, tasks: Sequence[str], sparsity: Mapping[str, NDArray[np.float64]], signature: Mapping[str, str]
) -> str:
    """Return the card of masks: what they are, how to use them, how they came about, as the hub's README.md."""
    lines = [
        "---",
        "library_name: neuronspec",
        "tags: [neuronspec, neuron-specialization, translation]",
        "---",
        "",
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
        f"Tasks: {_cell(', '.join(tasks))}",
        "",
        "| layer | switched off, mean over tasks |",
        "|---|---|",
        *(f"| {layer} | {100 * off.mean():.1f} % |" for layer, off in sparsity.items()),
        "",
        "| signature | |",
        "|---|---|",
        *(f"| {_cell(key)} | {_cell(value)} |" for key, value in sorted(signature.items())),
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Return text that keeps to its cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _check_header(tasks: Any, widths: Any, signature: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    if not (isinstance(tasks, list) and all(isinstance(task, str) for task in tasks)):
        raise ValueError("its tasks are not a list of names")
    if not (isinstance(widths, dict) and all(type(width) is int and width > 0 for width in widths.values())):
        raise ValueError("its widths are not positive whole numbers")
    if not isinstance(signature, dict) or not all(isinstance(value, str) for value in signature.values()):
        raise TypeError("its signature is not a mapping to strings")
    if set(widths) != set(tensors):
        raise ValueError(f"its header names the layers {sorted(widths)}, its tensors are {sorted(tensors)}")
    if len(tasks) * sum(widths.values()) > MAX_ENTRIES:
        raise ValueError("its header claims more neurons than any model has")


def _unpack(packed: torch.Tensor, tasks: int, width: int) -> torch.Tensor:
    if packed.dtype != torch.uint8 or tuple(packed.shape) != (tasks, (width + 7) // 8):
        raise ValueError(f"a layer of {width} neurons has a tensor of {packed.dtype} and shape {tuple(packed.shape)}")
    return torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, count=width).astype(bool))
