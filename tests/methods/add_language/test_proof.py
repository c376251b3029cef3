"""The file with the proof that an added language changed nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.methods.add_language.proof import PROOF_FILE, read_proof


def test_models_without_added_languages_have_no_proof(tmp_path: Path) -> None:
    assert read_proof(tmp_path) is None


@pytest.mark.parametrize("text", ["{}", "[]", '{"languages": 3}', "{"])
def test_r7_a_damaged_proof_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / PROOF_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(NeuronspecError, match="added_languages"):
        read_proof(tmp_path)
