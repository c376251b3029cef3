"""`neuronspec import`: a command for each kind of file, and one sentence for what cannot be imported."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from tests.command import run_command
from tests.models.fairseq.golden_models import GOLDEN, draw_weights, read_golden, write_checkpoint

from neuronspec.files import hash_path
from neuronspec.models.loading import load_model
from neuronspec.neurons.masks import NeuronMasks

FC1 = "encoder.layers.0.fc1.weight"
DICT, SPM = GOLDEN / "unigram.dict.txt", GOLDEN / "unigram.model"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("fairseq") / "checkpoint.pt", "pre_norm")


def write_masks(path: Path, on: list[bool]) -> Path:
    path.parent.mkdir(exist_ok=True)
    mask = torch.tensor(on)[:, None].expand(-1, 4).clone()
    torch.save({"encoder.layers.0.fc1.weight": mask, "decoder.layers.0.fc1.weight": ~mask}, path)
    return path


def test_a_checkpoint_is_imported_by_the_documented_command(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    command = ["import", checkpoint, "--dict", DICT, "--spm", SPM, "--langs", "en,de,cs,tr", "--out", out]
    assert run_command(*command) == 0
    assert "2+2 layers of width 16 with 32/32 neurons, 188 tokens" in capsys.readouterr().out
    assert load_model(out).config.model_type == "m2m_100"
    assert hash_path(checkpoint) in (out / "README.md").read_text()

    # A second time only with --force
    assert run_command(*command) == 2
    assert "give --force to replace it" in capsys.readouterr().err
    (tmp_path / "langs.txt").write_text("en\nde\ncs\ntr\n")
    again = [*command[:-3], tmp_path / "langs.txt", "--out", out, "--force", "--json"]
    assert run_command(*again) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["languages"] == ["en", "de", "cs", "tr"]
    assert shown["tags"] == {"source": "src", "target": "tgt"}
    assert sorted(shown["sha256"]) == ["checkpoint", "dictionary", "spm"]


def test_masks_are_imported_bit_by_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_masks(tmp_path / "masks" / "de-en.pt", [True, False, True])
    write_masks(tmp_path / "masks" / "mask_en-fr.k95.pt", [True, True, False])
    odd = write_masks(tmp_path / "masks" / "best.pt", [False, False, True])

    assert run_command("import", tmp_path / "masks", "--task", f"fr-de={odd}", "--out", tmp_path / "out") == 0
    masks = NeuronMasks.from_pretrained(tmp_path / "out")
    assert sorted(masks.tasks) == ["de-en", "en-fr", "fr-de"]
    rows = dict(zip(masks.tasks, masks.layer("encoder.0").tolist(), strict=True))
    assert rows == {"de-en": [True, False, True], "en-fr": [True, True, False], "fr-de": [False, False, True]}

    capsys.readouterr()
    assert run_command("import", tmp_path / "masks", "--out", tmp_path / "other") == 2
    assert "best.pt does not show its direction" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_lape_neurons_are_imported(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    assert run_command("import", checkpoint, "--dict", DICT, "--spm", SPM, "--out", model) == 0
    torch.save([[torch.tensor([0]), [1], [], [31]], [[2], [], [3], []]], tmp_path / "lape.pth")

    command = ["import", tmp_path / "lape.pth", "--langs", "en,de", "--model", model, "--out", tmp_path / "masks"]
    assert run_command(*command) == 0
    masks = NeuronMasks.from_pretrained(tmp_path / "masks")
    assert list(masks.tasks) == ["en", "de"]
    assert masks.layer("decoder.1")[0].nonzero().flatten().tolist() == [31]
    capsys.readouterr()
    assert run_command("import", tmp_path / "lape.pth", "--out", tmp_path / "other") == 2
    assert "names neither its languages nor its layers" in capsys.readouterr().err


def change_numbers(checkpoint: bytes) -> bytes:
    """Return a checkpoint with other weights, which are numbers like any others."""
    start = checkpoint.index(draw_weights("pre_norm", read_golden()["pre_norm"]["shapes"], 0.0)[FC1].numpy().tobytes())
    return checkpoint[:start] + bytes([checkpoint[start] ^ 1]) + checkpoint[start + 1 :]


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing SOURCE"),
        (["{checkpoint}"], "missing --out DIR"),
        (["{checkpoint}", "--out", "{out}"], "missing --dict FILE"),
        (
            ["{checkpoint}", "--dict", DICT, "--spm", SPM, "--model", "x", "--out", "{out}"],
            "--model changes nothing here",
        ),
        (["{checkpoint}", "--dict", DICT, "--langs", ",", "--out", "{out}"], "no language is given"),
        (["{checkpoint}", "--dict", DICT, "--langs", "en,d e", "--out", "{out}"], "'d e' is no language code"),
        (["{folder}/cut.pt", "--dict", DICT, "--out", "{out}"], "it is damaged or incomplete"),
        (["{folder}/text.pt", "--dict", DICT, "--out", "{out}"], "is no PyTorch archive"),
        (["{folder}/zip.pt", "--dict", DICT, "--out", "{out}"], "it is another kind of zip file"),
        (["{folder}/moved.pt", "--dict", DICT, "--out", "{out}"], "it is another kind of zip file"),
        (["{folder}/changed.pt", "--dict", DICT, "--spm", SPM, "--out", "{out}"], "changed.pt is damaged (in "),
        (["{checkpoint}", "--dict", "{folder}/mark.txt", "--out", "{out}"], "begins with a byte order mark"),
        (["{checkpoint}", "--dict", "{folder}/empty", "--out", "{out}"], "is a directory"),
        (["{checkpoint}", "--dict", DICT, "--spm", SPM, "--out", "/proc/new"], "nothing can be made in its folder"),
        (["{folder}/code.pt", "--dict", DICT, "--out", "{out}"], "holds more than tensors, or is damaged: it asks for"),
        (["{folder}/old.pt", "--dict", DICT, "--out", "{out}"], "files of torch < 1.6 are not read"),
        (["{folder}/other.pt", "--dict", DICT, "--out", "{out}"], "neither a fairseq checkpoint"),
        (["{folder}/none.pt", "--dict", DICT, "--out", "{out}"], "does not exist"),
        (["{folder}/empty", "--out", "{out}"], "holds no PyTorch files"),
        (["--task", "de-en", "--out", "{out}"], "expected NAME=FILE"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    arguments: list[object], message: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out, proof = tmp_path / "files", tmp_path / "out", tmp_path / "ran"
    (folder / "empty").mkdir(parents=True)
    whole = checkpoint.read_bytes()
    (folder / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (folder / "changed.pt").write_bytes(change_numbers(whole))
    (folder / "moved.pt").write_bytes(b"letter" + whole)
    (folder / "text.pt").write_text("no archive at all")
    (folder / "mark.txt").write_text("\ufeff" + DICT.read_text(encoding="utf-8"), encoding="utf-8")
    torch.save({"model": {}, "args": Bomb(proof)}, folder / "code.pt")
    torch.save({"model": {}}, folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 1}, folder / "other.pt")
    with zipfile.ZipFile(folder / "zip.pt", "w") as archive:
        archive.writestr("letter.txt", "dear")

    places = {"checkpoint": checkpoint, "folder": folder, "out": out}
    assert run_command("import", *(str(argument).format(**places) for argument in arguments)) == 2
    shown = capsys.readouterr().err
    assert message in " ".join(shown.split())
    assert shown.startswith("error: ")
    assert len(shown.splitlines()) == 1
    assert not proof.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files"]


def test_force_replaces_only_imports(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    assert run_command("import", checkpoint, "--dict", DICT, "--spm", SPM, "--out", out, "--force") == 2
    assert "holds something else, which --force will not replace" in capsys.readouterr().err
    assert (out / "letter.txt").read_text() == "dear"


def test_the_commands_of_the_page_run(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, source in (("checkpoint_best.pt", checkpoint), ("dict.txt", DICT), ("spm.model", SPM)):
        shutil.copy(source, name)
    for place in ("masks/de-en.pt", "masks/en-de.pt", "best.pt"):
        write_masks(tmp_path / place, [True, False, True])
    torch.save([[[0], [1], [], [31]], [[2], [], [3], []]], "neurons.pth")

    page = (Path(__file__).parents[2] / "docs" / "importing.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ neuronspec (.*)$", page, re.M)
    assert [run_command(*shlex.split(command)) for command in commands] == [0] * 4

    (snippet,) = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
    exec(compile(snippet, "importing.md", "exec"), {})
    assert load_model("imported").config.model_type == "m2m_100"
