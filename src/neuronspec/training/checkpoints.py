"""Checkpoints: model directories with the state of training beside, published whole (promises R1, R3)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from neuronspec.artifacts.tensor_files import read_tensors, write_tensors
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path, publish, read_json, write_json
from neuronspec.models.nonfinite import find_nonfinite

STATE = "training_state"
_NAME = re.compile(r"checkpoint-(\d{6,})")


class Checkpoints:
    """The checkpoints of one training, in a directory of their own.

    Each is an ordinary model directory, with the optimiser's moments (`training_state/optimizer.safetensors`), the
    place in the data and the best loss so far (`training_state/state.json`), and the SHA-256 of every file
    (`training_state/manifest.json`).

    Args:
        directory: where they are.
        keep: how many of the newest stay.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory = directory
        self.keep = keep

    def path(self, update: int) -> Path:
        """Return the directory of the checkpoint after `update` updates."""
        return self.directory / f"checkpoint-{update:06d}"

    def save(
        self,
        update: int,
        write_model: Callable[[Path], None],
        optimizer: dict[str, torch.Tensor],
        state: dict[str, Any],
    ) -> None:
        """Publish a checkpoint, then remove the ones that are neither new nor the best.

        Weights and moments must be finite: a checkpoint without meaning would displace one that has some.

        Args:
            update: updates done.
            write_model: writes the model's files into a directory.
            optimizer: named tensors, from `optimizer_tensors`.
            state: JSON values; `best_update` names the best checkpoint.
        """
        # (1) everything into a directory that no reader looks at
        with publish(self.path(update)) as temporary:
            (temporary / STATE).mkdir(parents=True)
            write_model(temporary)
            write_tensors(temporary / STATE / "optimizer.safetensors", optimizer)
            write_json(temporary / STATE / "state.json", state)
            # (2) the hashes of all of it, then flush and rename
            files = sorted(file for file in temporary.rglob("*") if file.is_file())
            manifest = {file.relative_to(temporary).as_posix(): hash_path(file) for file in files}
            write_json(temporary / STATE / "manifest.json", manifest)
        # (3) only now can others go: old ones, damaged ones of a lost run, and what a killed run left half-written
        kept = {state["best_update"], *[number for number in self._updates() if number <= update][: self.keep]}
        for other in set(self._updates()) - kept:
            shutil.rmtree(self.path(other))
        for left in self.directory.glob(".checkpoint-*"):
            shutil.rmtree(left)

    def verify(self, update: int) -> Path:
        """Return the directory of a checkpoint that is whole.

        Raises:
            NeuronspecError: it is missing or damaged, or holds numbers that are not finite.
        """
        path = self.path(update)
        if problem := _damage(path) or _poison(path):
            raise NeuronspecError(f"the checkpoint {path} is {problem}: delete {self.directory}, train again")
        return path

    def newest(self, report: Callable[[str], None]) -> tuple[Path, dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return the newest whole checkpoint: its directory, the optimiser's tensors, and its state.

        Args:
            report: function that is called with a sentence about each checkpoint that is passed over: it is damaged, or
                its weights or moments are not finite.
        """
        for update in self._updates():
            path = self.path(update)
            problem = _damage(path) or _poison(path)
            if problem is None:
                return (
                    path,
                    read_tensors(path / STATE / "optimizer.safetensors")[0],
                    read_json(path / STATE / "state.json"),
                )
            report(f"the checkpoint {path} is {problem}; trying the one before it")
        return None

    def _updates(self) -> list[int]:
        if not self.directory.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted((int(name[1]) for name in names if name), reverse=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[torch.Tensor, str]) -> dict[str, torch.Tensor]:
    """Return the optimiser's state as tensors named `moment.parameter`."""
    return {
        f"{key}.{names[parameter]}": value.detach().cpu().contiguous()
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: dict[torch.Tensor, str], tensors: dict[str, torch.Tensor]
) -> None:
    """Put tensors from `optimizer_tensors` back.

    Raises:
        NeuronspecError: they are of another model.
    """
    unknown = {key.partition(".")[2] for key in tensors} - set(names.values())
    if unknown:
        raise NeuronspecError(
            f"the checkpoint has optimiser state for {min(unknown)}, which the model lacks: it is of another model"
        )
    for parameter, name in names.items():
        found = {key.partition(".")[0]: value for key, value in tensors.items() if key.partition(".")[2] == name}
        optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in found.items()}


def _damage(path: Path) -> str | None:
    try:
        manifest = read_json(path / STATE / "manifest.json")
    except NeuronspecError as error:
        return f"damaged ({error})"
    for name, digest in manifest.items():
        if not (path / name).is_file():
            return f"damaged ({name} is missing)"
        if hash_path(path / name) != digest:
            return f"damaged ({name} has changed)"
    return None


def _poison(path: Path) -> str | None:
    """Return which numbers of a whole checkpoint are not finite: an earlier version published such ones."""
    for file in sorted(path.rglob("*.safetensors")):
        if bad := find_nonfinite(read_tensors(file)[0].items()):
            return f"not finite ({bad[0]} in {file.relative_to(path)} holds NaN or infinity)"
    return None
