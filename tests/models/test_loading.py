from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.models.tokenizers import write_pieces
from tests.processes import LIBRARIES, call
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.errors import NeuronspecError
from neuronspec.models.building import build_model, count_parameters
from neuronspec.models.embeddings import Embeddings
from neuronspec.models.loading import load_model, load_tokenizer, save_model

TEXT = ["__de__ abc def", "__en__ gh"]

# What another program does with the directories: transformers alone, in a process of its own.
OTHER_PROGRAM = """
import json, sys
from safetensors.torch import save_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tensors = {}
for name in ("separate", "shared"):
    model, found = AutoModelForSeq2SeqLM.from_pretrained(name, output_loading_info=True)
    assert not any(found.values()), found
    inputs = AutoTokenizer.from_pretrained(name)(json.loads(sys.argv[1]), padding=True, return_tensors="pt")
    tensors[name + ".logits"] = model(**inputs, decoder_input_ids=inputs["input_ids"]).logits.detach()
    for beams in (1, 4):
        ids = model.generate(**inputs, num_beams=beams, max_new_tokens=12, do_sample=False)
        tensors[f"{name}.{beams}"] = ids.contiguous()
save_file(tensors, "results.safetensors")
assert "neuronspec" not in sys.modules
"""


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """The directories `separate` and `shared`: a saved model with its tokenizer each."""
    folder: Path = tmp_path_factory.mktemp("models")
    kinds: tuple[Embeddings, ...] = ("separate", "shared")
    for kind in kinds:
        model = build_model("tiny", tokenizer, embeddings=kind)
        with torch.no_grad():
            for parameter in model.parameters():  # larger weights, so that generation depends on every one of them
                parameter.mul_(4)
        save_model(model, folder / kind, tokenizer)
    return folder


def test_stock_transformers_load_it_without_warning_and_compute_the_same(directories: Path, tmp_path: Path) -> None:
    for name in ("separate", "shared"):
        shutil.copytree(directories / name, tmp_path / name)
    done = call(["-c", OTHER_PROGRAM, json.dumps(TEXT)], tmp_path, warm=LIBRARIES)
    assert done.returncode == 0, done.stderr
    for word in ("MISSING", "UNEXPECTED", "MISMATCH", "newly initialized", "tie"):
        assert word not in done.stderr
    results = load_file(tmp_path / "results.safetensors")
    for name in ("separate", "shared"):
        model = load_model(directories / name).eval()
        inputs = load_tokenizer(directories / name)(TEXT, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(**inputs, decoder_input_ids=inputs["input_ids"]).logits
        torch.testing.assert_close(logits, results[f"{name}.logits"], rtol=0, atol=1e-6)
        for beams in (1, 4):
            ids = model.generate(**inputs, num_beams=beams, max_new_tokens=12, do_sample=False)
            assert torch.equal(ids, results[f"{name}.{beams}"])


@pytest.mark.parametrize("name", ["separate", "shared"])
def test_loads_what_was_saved_and_ties_it_again(directories: Path, tmp_path: Path, name: str) -> None:
    model = load_model(directories / name)
    assert model.config.embeddings == name
    assert model.lm_head.weight is model.model.decoder.embed_tokens.weight
    assert (model.lm_head.weight is model.model.encoder.embed_tokens.weight) == (name == "shared")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    save_model(model, tmp_path / "again")
    first, again = (load_file(folder / "model.safetensors") for folder in (directories / name, tmp_path / "again"))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize("name", ["separate", "shared"])
def test_training_a_loaded_model_keeps_the_tie(
    directories: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, name: Embeddings
) -> None:
    model = load_model(directories / name)
    assert count_parameters(model) == count_parameters(build_model("tiny", tokenizer, embeddings=name))
    before = model.lm_head.weight.detach().clone()
    model(input_ids=torch.tensor([[4, 5, 2]]), labels=torch.tensor([[6, 7, 2]])).loss.backward()
    torch.optim.AdamW(model.parameters(), lr=0.01).step()
    save_model(model, tmp_path / "trained")
    state = load_model(tmp_path / "trained").state_dict()
    assert not torch.equal(state["lm_head.weight"], before)
    assert torch.equal(state["lm_head.weight"], state["model.decoder.embed_tokens.weight"])
    assert torch.equal(state["lm_head.weight"], state["model.encoder.embed_tokens.weight"]) == (name == "shared")


def test_saves_and_loads_the_architectures_of_others(
    architecture: str, small_model: Callable[..., PreTrainedModel], tmp_path: Path
) -> None:
    model = small_model(architecture).float()
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert type(loaded) is type(model)
    for name, tensor in model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), tensor), name


@pytest.mark.parametrize("kind", ["MBart50Tokenizer", "T5Tokenizer"])
def test_a_tokenizer_that_is_only_a_sentencepiece_model_loads(tmp_path: Path, kind: str) -> None:
    """As older models of the hub have it: transformers reads the file with protobuf."""
    path, pieces = write_pieces(tmp_path)
    name = "spiece.model" if kind == "T5Tokenizer" else "sentencepiece.bpe.model"
    Path(path).rename(tmp_path / name)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}), encoding="utf-8")
    loaded = load_tokenizer(tmp_path)
    assert type(loaded).__name__ == kind
    assert {piece for piece, _ in pieces} <= set(loaded.get_vocab())


def test_tokenizer_comes_back_as_it_was(directories: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    loaded = load_tokenizer(directories / "separate")
    assert loaded(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert loaded.get_vocab() == tokenizer.get_vocab()


def configure(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def pickle_weights(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def ask_for_code(folder: Path) -> None:
    configure(folder, model_type="own", auto_map={"AutoConfig": "code.C", "AutoModelForSeq2SeqLM": "code.M"})
    (folder / "code.py").write_text("import pathlib; pathlib.Path(__file__).with_name('ran').touch()", encoding="utf-8")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "not a model directory: no config.json"),
    "no JSON": (lambda folder: (folder / "config.json").write_text("{"), "not a valid JSON file"),
    "no kind": (lambda folder: (folder / "config.json").write_text("{}"), "Unrecognized model"),
    "unknown kind": (lambda folder: configure(folder, model_type="blub"), "model type `blub`"),
    "decoder only": (lambda folder: configure(folder, model_type="gpt2"), "Unrecognized configuration class"),
    "bad value": (lambda folder: configure(folder, encoder_layers="two"), "encoder_layers"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no file named model.safetensors"),
    "cut weights": (cut, "deserializing header"),
    "empty weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "deserializing header"),
    "other widths": (lambda folder: configure(folder, encoder_ffn_dim=64), "mismatched_sizes"),
    "missing weights": (lambda folder: configure(folder, decoder_layers=3), "26 weights are missing, first model.dec"),
    "R10 pickled weights": (pickle_weights, "no file named model.safetensors"),
    "R10 code of its own": (ask_for_code, "contains custom code"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_bad_directory_is_refused_in_one_sentence(directories: Path, tmp_path: Path, case: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(directories / "separate", folder)
    damage, message = BROKEN[case]
    damage(folder)
    with pytest.raises(NeuronspecError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (folder / "ran").exists()


def test_what_is_no_directory_is_refused(directories: Path, tmp_path: Path) -> None:
    for path, found in (
        (tmp_path / "nothing", "nothing does not exist"),
        (directories / "separate" / "config.json", f"it is a file (did you mean {directories / 'separate'}?)"),
    ):
        with pytest.raises(NeuronspecError, match=f"is not a model directory: .*{re.escape(found)}"):
            load_model(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "not a tokenizer directory: no tokenizer_config"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot load"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot load"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "cannot load"),
    ],
)
def test_a_bad_tokenizer_is_refused(
    directories: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(directories / "separate", folder)
    damage(folder)
    with pytest.raises(NeuronspecError, match=message):
        load_tokenizer(folder)


class Touch:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "executed")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt", "tf_model.h5"])
def test_weights_that_are_no_safetensors_are_refused_and_those_of_torch_with_a_way_to_convert_them(
    name: str, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    save_model(build_model("tiny", tokenizer), tmp_path / "model", tokenizer)
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({"weights": Touch(tmp_path / "proof")}, tmp_path / "model" / name)
    with pytest.raises(NeuronspecError, match=f"only {name}; .*safetensors only") as refused:
        load_model(tmp_path / "model")
    assert ("t.AutoModelForSeq2SeqLM.from_pretrained" in str(refused.value)) == name.startswith("pytorch_model")
    assert not (tmp_path / "proof").exists()


def test_the_advised_conversion_works_and_executes_nothing(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, small_model: Callable[..., PreTrainedModel]
) -> None:
    directory = tmp_path / "model"
    model = small_model("m2m_100").float()
    save_model(model, directory, tokenizer)
    (directory / "model.safetensors").unlink()
    torch.save(model.state_dict(), directory / "pytorch_model.bin")
    with pytest.raises(NeuronspecError) as refused:
        load_model(directory)
    (program,) = re.findall('python -c "(.*)"', str(refused.value))
    exec(program.replace("DIRECTORY", str(directory)), {})
    for key, tensor in load_model(directory).state_dict().items():
        assert torch.equal(tensor, model.state_dict()[key])
    (directory / "model.safetensors").unlink()
    torch.save({"weights": Touch(tmp_path / "proof")}, directory / "pytorch_model.bin")
    with pytest.raises(Exception, match="Weights only load failed"):
        exec(program.replace("DIRECTORY", str(directory)), {})
    assert not (tmp_path / "proof").exists()


def test_a_model_without_weights_is_refused(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    save_model(build_model("tiny", tokenizer), tmp_path / "model", tokenizer)
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(NeuronspecError, match=r"no file named model\.safetensors in it, and no other weights"):
        load_model(tmp_path / "model")
