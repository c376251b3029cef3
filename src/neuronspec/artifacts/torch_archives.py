"""PyTorch files of other tools, read without executing anything.

This is the only module that opens such files. It is on its guard: the archive is examined before anything is read, and
torch's restricted reader takes tensors, plain containers and the classes that a caller allows.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.reading_limits import TENSORS

_MAX_ITEMS = 10_000_000  # entries of the lists and mappings of a file; lists of lists can repeat each other
_MAX_PICKLE_BYTES = 256 << 20  # of the description of the tensors, which is read into memory


def read_torch_archive(path: Path, *, allowed: Sequence[type] = (), lazily: bool = False) -> Any:
    """Return the content of a PyTorch file, read with the restricted reader.

    Args:
        path: Path of the file.
        allowed: Classes that the file may hold besides tensors and plain containers, for this call alone.
        lazily: Whether tensors stay in the file until they are used, so that a large file needs little memory. Then the
            file may be of any size.

    Returns:
        The content: tensors on the CPU, in plain containers.

    Raises:
        NeuronspecError: If the file is missing, too large, damaged, or holds something else.
    """
    if not path.is_file():
        raise NeuronspecError(f"{path} does not exist, or is no file: give a PyTorch file")

    # The size that it would unpack to, before anything is unpacked
    _check_entries(path, lazily=lazily)
    if not lazily:
        check_sums(path)
    try:
        with torch.serialization.safe_globals(list(allowed)):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
    except Exception as error:
        raise NeuronspecError(f"{path} holds more than tensors, or is damaged: {_explain(error)}") from error
    _check_content(content, path)
    return content


def check_tensor(tensor: Any, what: str, max_bytes: int | None = None) -> torch.Tensor:
    """Return a tensor that can be used without surprises: a few bytes may claim to be a huge one.

    Args:
        tensor: Value that should be a tensor.
        what: Description of its place, for the message.
        max_bytes: Largest size; that of an archive if None.

    Raises:
        NeuronspecError: If it is no plain tensor, or too large.
    """
    # A sparse or an expanded tensor may take a few bytes in a file, and all memory once it is used.
    limit = TENSORS.largest if max_bytes is None else max_bytes
    plain = isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.numel() * tensor.element_size() > limit:
        raise NeuronspecError(f"{what}: expected a plain tensor, found {type(tensor).__name__}")
    checked: torch.Tensor = tensor
    return checked


def check_sums(path: Path) -> None:
    """Refuse an archive with bytes that are not those that were written, which torch does not look for.

    Args:
        path: Path of an archive that `read_torch_archive` takes.

    Raises:
        NeuronspecError: If an entry does not have its checksum.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # of a damaged archive almost anything comes
        raise NeuronspecError(f"{path} is damaged ({first_line(error)}): copy or download it again") from error
    if damaged is not None:
        raise NeuronspecError(f"{path} is damaged (in {damaged[:80]}): copy or download it again")


def _check_entries(path: Path, *, lazily: bool) -> None:
    """Refuse a file that is no archive, or that would take more memory than its purpose needs."""
    entries = _list_entries(path)
    size = sum(entry.file_size for entry in entries)

    if lazily:
        _check_stays_in_file(path, entries, size)
    elif size > TENSORS.largest:
        raise TENSORS.refuse(f"{path} would unpack to {size / 2**30:.1f} GiB, more than", "expected masks or neurons")


def _check_content(content: Any, path: Path) -> None:
    """Refuse tensors that are larger than their bytes in the file, and lists that have no end.

    A tensor of one number can claim any size, and a list can hold the same list many times, which does so in turn.
    """
    waiting, count = [content], 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            _check_size(value, path)
            continue

        items = _list_items(value)
        count += len(items)
        if count > _MAX_ITEMS:
            raise NeuronspecError(f"{path} holds lists with more than {_MAX_ITEMS:,} entries; expected tensors")
        waiting += items


def _list_items(value: Any) -> Collection[Any]:
    """Return what a container holds; nothing for any other value."""
    if isinstance(value, argparse.Namespace):
        return vars(value).values()
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple | set) else ()


def _check_size(tensor: torch.Tensor, path: Path) -> None:
    # Sparse tensors and those of no device are refused where they are used.
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise NeuronspecError(
            f"{path} holds a tensor of shape {tuple(tensor.shape)} that repeats the same numbers: save it with "
            "tensor.contiguous()"
        )


def _list_entries(path: Path) -> list[zipfile.ZipInfo]:
    """Return the entries of an archive that PyTorch wrote."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # of a damaged archive almost anything comes
        raise NeuronspecError(
            f"{path} is no PyTorch archive (files of torch < 1.6 are not read): {_advise(path)}"
        ) from error

    # What PyTorch writes begins with its description, in a folder.
    described = any(entry.filename.endswith("/data.pkl") for entry in entries)
    if not described or not _begins_with(path, b"PK"):
        raise NeuronspecError(f"{path} is no archive that PyTorch wrote: it is another kind of zip file")
    return entries


def _check_stays_in_file(path: Path, entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Refuse entries that would grow when they are used, or a description that would fill the memory."""
    # Torch compresses nothing.
    grown = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    pickles = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
    if grown or size > path.stat().st_size or pickles > _MAX_PICKLE_BYTES:
        raise NeuronspecError(f"{path} is no archive that PyTorch wrote: its entries are compressed or too large")


def _advise(path: Path) -> str:
    """Return advice about a file that is no archive, by its first bytes."""
    if _begins_with(path, b"PK"):
        return "it is damaged or incomplete; copy or download it again"
    if _begins_with(path, b"\x80"):  # a pickle
        return "where you trust it, read it with torch.load and write it with torch.save of a newer version"
    return "it is another kind of file"


def _begins_with(path: Path, first: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(first)) == first
    except OSError:
        return False


def _explain(error: Exception) -> str:
    """Return the reason for which a file is refused, without torch's advice to trust it."""
    # The name of a class or function that a restricted reader does not look up
    found = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
    return f"it asks for {found[1]}" if found else first_line(error)
