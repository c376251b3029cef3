"""Checkpoints: model directories that include the training state, published atomically (promises R1, R3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from neuronspec.artifacts.tensor_files import read_tensors, write_tensors
from neuronspec.durability import remove
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path, publish, read_json, write_json
from neuronspec.format_versions import NewerFormatError, add_format, remove_format
from neuronspec.models.nonfinite import find_nonfinite
from neuronspec.terminal import escape

STATE_DIRECTORY = "training_state"
CheckState = Callable[[dict[str, Any], Path, int], None]
# As in `Checkpoints.path`: six digits, and more from a million updates on
_NAME = re.compile(r"checkpoint-(\d{6,})")


class Checkpoints:
    """The checkpoints of one training.

    Each is an ordinary model directory, with the optimizer's moments (`training_state/optimizer.safetensors`), the
    position in the data and the best loss so far (`training_state/state.json`), and the SHA-256 of every file
    (`training_state/manifest.json`).

    Args:
        directory: Directory of the checkpoints.
        keep: Number of the newest checkpoints to keep.
        check: Function that refuses a state which no training can have, given its values, its file and the number of
            updates; by default, any state is taken.
        is_scheduled: Function that returns whether a checkpoint is made after an update in any case. Others are made
            when a training is interrupted; they take no other's place, and are removed at the next checkpoint. By
            default, all are scheduled.
    """

    def __init__(
        self,
        directory: Path,
        keep: int,
        is_scheduled: Callable[[int], bool] = lambda _: True,
        check: CheckState = lambda values, path, update: None,
    ) -> None:
        self.directory = directory
        self.keep = keep
        self.check = check
        self.is_scheduled = is_scheduled

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
        """Publish a checkpoint, then remove those that are neither among the newest nor the best.

        Weights and moments must be finite: a useless checkpoint would replace a good one.

        Args:
            update: Number of updates made.
            write_model: Function that writes the model's files into a directory.
            optimizer: Named tensors from `optimizer_tensors`.
            state: JSON values; `best_update` is the update of the best checkpoint.
        """
        # (1) Write everything into a directory that no reader looks at.
        with publish(self.path(update)) as temporary:
            (temporary / STATE_DIRECTORY).mkdir(parents=True)
            write_model(temporary)
            write_tensors(temporary / STATE_DIRECTORY / "optimizer.safetensors", optimizer)
            write_json(temporary / STATE_DIRECTORY / "state.json", add_format(state))

            # (2) Write the hashes of all files; then the directory is flushed and renamed.
            files = sorted(file for file in temporary.rglob("*") if file.is_file())
            manifest = {file.relative_to(temporary).as_posix(): hash_path(file) for file in files}
            write_json(temporary / STATE_DIRECTORY / "manifest.json", manifest)

        # (3) Only now remove others: old ones, damaged ones of a lost run, and half-written ones of a killed run.
        scheduled = [number for number in self._updates() if number <= update and self.is_scheduled(number)]
        kept = {state["best_update"], update, *scheduled[: self.keep]}
        for other in set(self._updates()) - kept:
            remove(self.path(other))  # the name first: half of one would be reported as damaged
        for left in self.directory.glob(".checkpoint-*"):
            remove(left)

    def verify(self, update: int) -> Path:
        """Return the directory of a checkpoint, which must be complete.

        Raises:
            NeuronspecError: If it is missing or damaged, or holds numbers that are not finite.
        """
        path = self.path(update)
        if problem := _find_damage(path) or _find_nonfinite_file(path):
            raise NeuronspecError(f"the checkpoint {path} is {problem}: delete {self.directory}, train again")
        return path

    def newest(self, report: Callable[[str], None]) -> tuple[Path, dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return the newest usable checkpoint: its directory, the optimizer's tensors, and its state.

        Args:
            report: Function that is called with a sentence about each skipped checkpoint, which is damaged or has
                weights or moments that are not finite.

        Raises:
            NeuronspecError: If its state has a newer format than this version can read.
        """
        # From the newest one back, to the first that is sound.
        for update in self._updates():
            path = self.path(update)
            problem = _find_damage(path) or _find_nonfinite_file(path)
            try:
                if problem is None:
                    return path, *self._read(path, update)
            except NewerFormatError:
                raise  # it is not skipped, as a damaged one is: its training would start again
            except NeuronspecError as error:
                problem = f"damaged ({error})"
            report(f"the checkpoint {path} is {problem}; trying the one before it")
        return None

    def _read(self, path: Path, update: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return the optimizer's tensors and the state of a checkpoint."""
        file = path / STATE_DIRECTORY / "state.json"
        state = remove_format(read_json(file), file)
        self.check(state, file, update)
        return read_tensors(path / STATE_DIRECTORY / "optimizer.safetensors")[0], state

    def _updates(self) -> list[int]:
        if not self.directory.is_dir():
            return []

        # From the newest to the oldest; other files and unfinished checkpoints have other names.
        names = (_NAME.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted((int(name[1]) for name in names if name), reverse=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[torch.Tensor, str]) -> dict[str, torch.Tensor]:
    """Return the optimizer's state as tensors named `moment.parameter`."""
    tensors = {}
    for parameter, state in optimizer.state.items():
        for moment, value in state.items():
            tensors[f"{moment}.{names[parameter]}"] = value.detach().cpu().contiguous()
    return tensors


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: dict[torch.Tensor, str], tensors: dict[str, torch.Tensor]
) -> None:
    """Load tensors from `optimizer_tensors` into an optimizer.

    Raises:
        NeuronspecError: If they belong to another model.
    """
    # The moments of each parameter, by its name
    states: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        moment, _, name = key.partition(".")
        states.setdefault(name, {})[moment] = tensor

    unknown = states.keys() - set(names.values())
    if unknown:
        raise NeuronspecError(
            f"the checkpoint has optimizer state for {min(unknown)}, which the model lacks: it belongs to another model"
        )

    # A parameter without moments has not been updated yet, and gets an empty state.
    for parameter, name in names.items():
        state = states.get(name, {})
        for moment, tensor in state.items():
            if tensor.numel() != 1 and tensor.shape != parameter.shape:
                raise NeuronspecError(
                    f"the checkpoint has {moment} of shape {tuple(tensor.shape)} for {name} of shape "
                    f"{tuple(parameter.shape)}: it belongs to another model"
                )
        optimizer.state[parameter] = {moment: tensor.to(parameter.device) for moment, tensor in state.items()}


def _find_damage(path: Path) -> str | None:
    try:
        manifest = read_json(path / STATE_DIRECTORY / "manifest.json")
    except NeuronspecError as error:
        return f"damaged ({error})"

    # The manifest is written last, with the hash of every file that the training needs.
    if not isinstance(manifest, dict) or not all(map(_is_inside, manifest)):
        return "damaged (its manifest does not list its files)"
    unlisted = [name for name in _list_needed(path) if name not in manifest]
    if unlisted:
        return f"damaged ({unlisted[0]} is not in its manifest)"

    for name, digest in manifest.items():
        try:
            if not (path / name).is_file():
                return f"damaged ({escape(name):.200} is missing)"
            if hash_path(path / name) != digest:
                return f"damaged ({name} has changed)"
        except OSError as error:
            return f"damaged ({escape(name):.200}: {error.strerror})"
    return None


def _is_inside(name: str) -> bool:
    """Return whether a name of a manifest is that of a file in its directory."""
    return "\0" not in name and not name.startswith("/") and ".." not in name.split("/")


def _list_needed(path: Path) -> list[str]:
    """Return the names of the files from which a training resumes."""
    state = [f"{STATE_DIRECTORY}/{name}" for name in ("state.json", "optimizer.safetensors")]
    weights = sorted(file.relative_to(path).as_posix() for file in path.rglob("*.safetensors"))
    return [*state, *weights]


def _find_nonfinite_file(path: Path) -> str | None:
    """Return which numbers of a checkpoint are not finite, or None; an earlier version published such checkpoints."""
    for file in sorted(path.rglob("*.safetensors")):
        try:
            tensors = read_tensors(file)[0]
        except NeuronspecError as error:
            return f"damaged ({error})"
        if bad := find_nonfinite(tensors.items()):
            return f"not finite ({bad[0]} in {file.relative_to(path)} holds NaN or infinity)"
    return None
