"""The container of everything that is written with tensors: one safetensors file with a typed header.

A kind of file is a `Container`: its name, its header, and what to do where a file of it is damaged. Masks, counts,
examples, adapters, LoRA, weight masks and branches all are such kinds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from neuronspec.artifacts.headers import check_header_names, describe_problem
from neuronspec.artifacts.tensor_files import read_tensors, write_tensors
from neuronspec.errors import NeuronspecError, first_line
from neuronspec.files import publish
from neuronspec.format_versions import FIRST, FORMAT_KEY, VERSION_KEY, add_format, check_format

if TYPE_CHECKING:
    import torch

HEADER: Final = "neuronspec"  # the entry of the metadata that holds the header
MAX_HEADER: Final = 32 << 20  # characters; the header of 60 tasks and 100 layers has some thousands

HeaderType = TypeVar("HeaderType", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Container(Generic[HeaderType]):
    """A kind of file: named tensors with a typed header.

    Args:
        file: Name of the file in its directory.
        holds: Content of such a file, in the plural, for messages: `neuron masks`.
        header: Pydantic model of the header.
        remedy: Advice for a damaged file, for messages: `select them again`.
        ascii: Whether the header is written in ASCII; otherwise in UTF-8.
        format: Number of the format, which rises when older versions could no longer read a file of this kind.
    """

    file: str
    holds: str
    header: type[HeaderType]
    remedy: str
    ascii: bool = True
    format: int = FIRST

    def path_in(self, place: str | Path) -> Path:
        """Return the path of the file in a directory; the path of a file is returned as it is."""
        path = Path(place)
        return path / self.file if path.is_dir() else path

    def save(self, path: Path, tensors: Mapping[str, torch.Tensor], header: HeaderType) -> Path:
        """Publish tensors and a header as one file and return its path.

        Args:
            path: Path of the file.
            tensors: Tensors by name, on any device.
            header: Header to write.
        """
        # safetensors writes what lies in memory without gaps, on the CPU.
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps(add_format(header.model_dump(), self.format), ensure_ascii=self.ascii)

        with publish(path) as temporary:
            write_tensors(temporary, kept, {HEADER: text})
        return path

    def load(self, path: Path) -> tuple[dict[str, torch.Tensor], HeaderType]:
        """Read the tensors and the header of a file.

        Args:
            path: Path of the file.

        Raises:
            NeuronspecError: If the file is missing, damaged, of another kind, or of a newer format.
        """
        # The header is JSON in the metadata of the file; other files of tensors have none.
        tensors, metadata = read_tensors(path, holds=self.holds)
        raw = self._parse(path, metadata.get(HEADER, "null"))
        if not isinstance(raw, dict):
            raise self.damaged(path, f"its header has no '{HEADER}' entry")

        # A newer format is refused before its fields are compared with those that are known here.
        check_format(raw, path, self.format)
        about_file = {FORMAT_KEY, VERSION_KEY} - self.header.model_fields.keys()
        raw = {name: value for name, value in raw.items() if name not in about_file}

        # Its types check sizes and texts; names are checked on top, because they become paths.
        try:
            header = self.header.model_validate(raw, strict=True)
        except ValidationError as error:
            raise self.damaged(path, describe_problem(error)) from error
        check_header_names(header, path)
        return tensors, header

    def damaged(self, path: Path, problem: str) -> NeuronspecError:
        """Return the error for a file that is damaged or of another kind.

        Args:
            path: Path of the file.
            problem: Description of the problem.
        """
        return NeuronspecError(f"cannot read {path}: it is damaged or holds no {self.holds}: {problem}; {self.remedy}")

    def _parse(self, path: Path, text: str) -> Any:
        # Checked before parsing, which takes several times the memory of the text.
        if len(text) > MAX_HEADER:
            raise self.damaged(path, f"its header has {len(text):,} characters, at most {MAX_HEADER:,} are expected")

        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:  # deep nesting is enough for the latter
            raise self.damaged(path, first_line(error)) from error
