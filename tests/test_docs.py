"""What users read is true: every page, command and snippet of README and docs is parsed or run here."""

from __future__ import annotations

import importlib.util
import re
import shlex
from itertools import islice, permutations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import typer
import yaml
from tests.command import run_command
from tests.pipeline.conftest import write_project
from tests.proposal.layouts import write_three_kinds
from tests.stage_lines import read_stages
from tests.test_safety import GROUND, ROOMS
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    M2M100Config,
    M2M100ForConditionalGeneration,
    NllbTokenizer,
)

import neuronspec as ns
from neuronspec.cli.main import app
from neuronspec.config.loading import load_config
from neuronspec.config.sections import Data
from neuronspec.data.configured_corpora import check_templates
from neuronspec.data.corpora import CORPUS_FORMATS
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.evaluation.identifiers import IDENTIFIERS
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.quality import assess
from neuronspec.evaluation.scoring import score
from neuronspec.exports.formats import EXPORTS
from neuronspec.methods import METHODS, method_options
from neuronspec.models.building import build_model
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import save_model
from neuronspec.neurons.architectures import ARCHITECTURES
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.rules import RULES
from neuronspec.registry import Registry

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def snippets(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_configuration_page_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == load_generator().render(), "run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    group: Any = typer.main.get_command(app)
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"(?:^\$ |`)(neuronspec [^`\n]*)", text, re.M):
        words = shlex.split(line, comments=True)[1:]
        while words and words[0].startswith("-"):  # options in front of the verb
            [option] = [parameter for parameter in group.params if words[0] in parameter.opts]
            words = words[1 if option.is_flag else 2 :]
        if not words or words[0] == "VERB":
            continue
        verb = group.commands[words[0]]
        known = {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words[1:] if word.startswith("-") and word != "-"} <= known | {"--help"}, line


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"(?:^\$ |`)make ([\w-]+)", page.read_text(encoding="utf-8"), re.M):
            assert re.search(rf"^{target}:", makefile, re.M), target


DEEP_IMPORT = re.compile(r"^(?: *(?:>>>|\.\.\.) )?(?:from|import) (neuronspec\.\w+\.[\w.]+)", re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_from_the_faces_of_rooms(page: Path) -> None:
    assert DEEP_IMPORT.findall("\n".join(snippets(page, "python"))) == []


def test_examples_in_docstrings_import_from_the_faces_of_rooms() -> None:
    deep = re.compile(r"^ *(?:>>>|\.\.\.) (?:from|import) neuronspec\.\w+\.\w.*", re.M)
    source = ROOT / "src"
    assert [line for path in source.rglob("*.py") for line in deep.findall(path.read_text(encoding="utf-8"))] == []


def test_contributing_names_every_room_and_the_ground_floor() -> None:
    text = " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    assert " -> ".join(ROOMS) in text
    described = text.partition("ground floor")[2].partition("A room's")[0]
    names = [name.removesuffix(".py").removesuffix("/") for name in re.findall(r"`([\w./]+)`", described)]
    assert sorted(names) == sorted(GROUND)


def test_the_corpora_of_the_page_about_text_are_valid() -> None:
    (snippet,) = snippets(ROOT / "docs" / "text.md", "yaml")
    data = Data.model_validate(yaml.safe_load(snippet))
    check_templates(data, ["en-de", "en-fr"], "en")
    text = (ROOT / "docs" / "text.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.M)) == set(CORPUS_FORMATS)


def test_the_configuration_in_the_readme_is_valid(tmp_path: Path) -> None:
    (snippet,) = snippets(ROOT / "README.md", "yaml")
    (tmp_path / "my.yaml").write_text(snippet)
    config = load_config(tmp_path / "my.yaml", (), method_options())
    assert config.directions()[0] == "en-de"
    assert yaml.safe_load(snippet)["methods"].keys() == config.methods.keys()


def test_the_page_on_neurons_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ARCHITECTURES, "_entries", dict(ARCHITECTURES))
    torch.manual_seed(0)  # of the page's random model, whose pruned widths are compared below
    names: dict[str, Any] = {}
    for snippet in snippets(ROOT / "docs" / "neurons.md", "python"):
        exec(compile(snippet, "neurons.md", "exec"), names)
    assert names["grid"].tasks == ("de-sv", "sv-de")
    small, same = (dict(names[name].named_parameters()) for name in ("again", "same"))
    assert {tuple(weight.shape) for weight in small.values()} != {tuple(weight.shape) for weight in same.values()}


def test_the_page_on_steering_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for snippet in snippets(ROOT / "docs" / "steering.md", "python"):
        exec(compile(snippet, "steering.md", "exec"), names)
    assert names["steering"].tasks == ("de-en",)


def test_the_recipes_for_extensions_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    registries: tuple[Registry[Any], ...] = (
        *(METHODS, ARCHITECTURES, CORPUS_FORMATS, METRICS, IDENTIFIERS, RULES, EXPORTS),
    )
    before = {id(registry): {*registry} for registry in registries}
    for registry in registries:
        monkeypatch.setattr(registry, "_entries", dict(registry))
    for snippet in snippets(ROOT / "docs" / "extending.md", "python"):
        exec(compile(snippet, "extending.md", "exec"), {})
    added = [name for registry in registries for name in registry if name not in before[id(registry)]]
    assert added == ["frozen_encoder", "my_model", "bars", "exact", "mine", "frequent", "lists"]

    (tmp_path / "talks.de-en.bars").write_text("Hallo|Hello\n", encoding="utf-8")
    (pair,) = CORPUS_FORMATS["bars"].read(str(tmp_path / "talks.{src}-{tgt}.bars"), "de", "en")
    assert (pair.source, pair.target) == ("Hallo", "Hello")
    (found,) = score(["a b", "c"], ["a b", "d"], "de", metrics=["exact"])
    assert (found.metric, found.value) == ("exact match", 50.0)
    german = ["Das ist der lange Satz, den wir hier brauchen, und noch etwas mehr."]
    quality = assess(german, None, german, "nds", identifier="mine")
    assert (quality.off_target, quality.identifier) == (0.0, "mine|version:1")
    assert assess(
        ["An English sentence, which is long enough to judge."], None, german, "de", identifier="mine"
    ).off_target
    totals = {stack: torch.tensor([4]) for stack in ("encoder", "decoder")}
    values = {"decoder.0": torch.tensor([[1, 2, 4]])}
    counts = ActivationCounts(tasks=("de-en",), values=values, totals=totals, unit="sentence")
    masks = NeuronMasks.from_counts(counts, rule="frequent", k=0.5)
    assert masks.mask("de-en", "decoder.0").tolist() == [False, True, True]

    tokenizer = learn_vocabulary(iter(["der hund schläft", "the dog sleeps"] * 9), 30, ["de", "en"])
    model = build_model("tiny", tokenizer)
    halves = {layer.name: [index % 2 == 0 for index in range(layer.width)] for layer in find_ffn_layers(model)}
    masks = NeuronMasks.from_dict(dict.fromkeys(("en-de", "de-en"), halves))
    sentences = {"en-de": ["the dog"], "de-en": ["der hund"]}
    ns.export(model, tokenizer, masks, format="lists", out=tmp_path / "lists", sentences=sentences, max_tokens=4)
    assert (tmp_path / "lists" / "de-en.txt").read_text().startswith("0 2 4")


def test_the_page_on_exporting_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands in their order, for models with masks in the places that the page names."""
    monkeypatch.chdir(tmp_path)
    tokenizer = learn_vocabulary(iter(["der hund schläft", "the dog sleeps"] * 9), 30, ["de", "en"])
    model = build_model("tiny", tokenizer)
    save_model(model, Path("model"), tokenizer)
    halves = {layer.name: [index % 2 == 0 for index in range(layer.width)] for layer in find_ffn_layers(model)}
    masks = NeuronMasks.from_dict(dict.fromkeys(("en-de", "de-en"), halves))
    masks.save_pretrained("masks")
    own = Path("runs/mine/train/neuron_specialization/model")
    save_model(model, own, tokenizer)
    masks.save_pretrained(own)
    Path("dev.tsv").write_text("der hund schläft\tthe dog sleeps\nder hund\tthe dog\n", encoding="utf-8")

    german, english = ["der hund schläft", "der hund"] * 20, ["the dog sleeps", "the dog"] * 20
    Path("text.de").write_text("\n".join(german) + "\n", encoding="utf-8")
    Path("text.en").write_text("\n".join(english) + "\n", encoding="utf-8")

    page = ROOT / "docs" / "export.md"
    for command in re.findall(r"^\$ neuronspec export (.*)", page.read_text(encoding="utf-8"), re.M):
        words = shlex.split(command.replace("facebook/nllb-200-distilled-600M", "model"))
        if words[0] == "runs/mine":  # the directory of the model in the run, with text instead of the run's
            words[0] = str(own)
            texts = [f"--text={task}=dev.tsv" for task in masks.tasks]
            words += texts if not any(word.startswith("--text") for word in words) else []
        assert run_command("export", *words, "--max-tokens", "4") == 0, (command, capsys.readouterr().err)

    names: dict[str, Any] = {"german": german, "english": english}
    for snippet in snippets(page, "python"):
        exec(compile(snippet, "export.md", "exec"), names)
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text.partition("## The proof")[0], re.M)) == set(EXPORTS)
    for name, entry in EXPORTS.items():
        for option in entry.options.model_fields:
            assert f"`{option}" in text, (name, option)


def test_the_page_on_analysis_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for snippet in snippets(ROOT / "docs" / "analysis.md", "python"):
        exec(compile(snippet, "analysis.md", "exec"), names)
    found = names["layer"].structure.correlations["family"]
    assert found.r > 0.3
    assert found.p_value <= 0.05


def test_the_page_on_evaluation_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    directory = Path("runs/mine/train/neuron_specialization/model")
    tokenizer = learn_vocabulary(iter(["der hund schläft", "the dog sleeps"] * 9), 30, ["de", "en"])
    model = build_model("tiny", tokenizer)
    save_model(model, directory, tokenizer)
    halves = {layer.name: [index % 2 == 0 for index in range(layer.width)] for layer in find_ffn_layers(model)}
    NeuronMasks.from_dict(dict.fromkeys(("en-de", "de-en"), halves)).save_pretrained(directory)

    names: dict[str, Any] = {}
    *runnable, comet = snippets(ROOT / "docs" / "evaluation.md", "python")
    assert "Comet()" in comet
    for snippet in runnable:
        exec(compile(snippet, "evaluation.md", "exec"), names)
    assert {task: len(lines) for task, lines in names["outputs"].items()} == {"en-de": 2, "de-en": 1}
    assert names["one"].metric == "chrF++"
    assert 0 < names["test"].p_value <= 1


def test_the_page_on_models_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = learn_vocabulary(
        iter(["Guten Tag. Das Gerät wurde nicht gefunden.", "Good day."] * 9), 40, ["de", "en"]
    )
    model = build_model("tiny", tokenizer)
    halves = {layer.name: [index % 2 == 0 for index in range(layer.width)] for layer in find_ffn_layers(model)}
    masks = NeuronMasks.from_dict(dict.fromkeys(("en-de", "de-en"), halves))
    for system in ("fine_tune", "neuron_specialization"):
        directory = Path("runs/mine/train", system, "model")
        save_model(model, directory, tokenizer)
        masks.save_pretrained(directory)

    names: dict[str, Any] = {}
    page = ROOT / "docs" / "models.md"
    (plain,) = snippets(page, "python")
    exec(compile(plain, "models.md", "exec"), names)
    assert len(names["translations"]) == 2

    # Labels are what the decoder learns to write here.
    codec = TextCodec(tokenizer, model.config)
    form = codec.format("de-en")
    (ids,) = codec.encode_targets(["Good day."])
    assert names["batch"]["labels"].tolist() == [form.labels(ids)]
    assert names["loss"].item() > 0

    # The exports, of the model in the run, with text instead of the run's
    Path("dev.tsv").write_text("Guten Tag.\tGood day.\n", encoding="utf-8")
    for command in re.findall(r"^\$ neuronspec export runs/mine (.*)", page.read_text(encoding="utf-8"), re.M):
        given = [str(directory), "--text", "de-en=dev.tsv", "--max-tokens", "4"]
        assert run_command("export", *given, *shlex.split(command)) == 0, command
    exported = AutoModelForSeq2SeqLM.from_pretrained("exports/plain")
    assert exported.config.encoder_ffn_dim == model.config.encoder_ffn_dim // 2


def test_the_page_on_own_data_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_three_kinds(tmp_path / "corpora")
    page = ROOT / "docs" / "own_data.md"
    names: dict[str, Any] = {}
    for snippet in snippets(page, "python"):
        exec(compile(snippet.replace("minutes=10", "minutes=0.05"), "own_data.md", "exec"), names)
    assert names["found"].count_pairs("train") == dict.fromkeys(("en-da", "en-de", "en-sv"), 300)
    assert yaml.safe_load(names["text"])["languages"] == ["da", "de", "sv"]

    # The commands in their order, with a model that is here and little time; the whole run is a test of its own.
    commands = re.findall(r"^\$ neuronspec (.*)", page.read_text(encoding="utf-8"), re.M)
    for command in commands:
        verb, *words = shlex.split(command)
        if verb == "init" and "--model" not in words:
            words = words[: words.index("--minutes")] if "--minutes" in words else words
            assert not run_command("init", *words, "--minutes", "0.05"), command
        elif verb == "run":
            assert not run_command("prepare", *words), command
    assert {path.name for path in tmp_path.glob("*.yaml")} == {"my.yaml", "long.yaml"}


def test_the_run_on_the_page_of_concepts_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "toy.yaml").rename(tmp_path / "my.yaml")
    monkeypatch.chdir(tmp_path)
    (snippet,) = snippets(ROOT / "docs" / "concepts.md", "python")
    names: dict[str, Any] = {}
    exec(compile(snippet.replace("20_000", "16"), "concepts.md", "exec"), names)
    assert names["run"].config.train.updates == 16
    assert (tmp_path / "run" / "report" / "report.html").is_file()
    assert names["masks"].layers == tuple(layer.name for layer in find_ffn_layers(names["model"]))


def test_the_page_on_questions_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_project(tmp_path)
    recipe = (tmp_path / "toy.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("{updates: 16,", "{updates: 4,"),
        ("{updates: 8,", "{updates: 2,"),
        ("examples: 2", "examples: 0, figures: false, resamples: 0"),
    ):
        assert old in recipe
        recipe = recipe.replace(old, new)
    (tmp_path / "my.yaml").write_text(recipe, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", logger="neuronspec")

    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    for line in re.findall(r"^\$ neuronspec (.*)", text, re.M):
        assert run_command(*shlex.split(line)) == 0, line
    stages = read_stages(caplog.messages)
    assert "train: shared from runs/base" in stages
    assert stages.count("train: finished") == 1  # one pretraining
    assert sorted(path.name for path in Path("runs").iterdir()) == ["adapters", "base", "beams", "k80", "ks", "seeds"]
    assert Path("runs/ks/report/figures/gain_over_select.k.svg").is_file()
    assert {f"`{path.stem}`" for path in Path("runs/ks/report/tables").iterdir()} == set(
        re.findall(r"^\| (`\w+`) \|", text, re.M)
    )

    (snippet,) = snippets(ROOT / "docs" / "questions.md", "python")
    names: dict[str, Any] = {}
    exec(compile(snippet, "questions.md", "exec"), names)
    assert [*names["sweep"].runs] == [f"select.k={k}" for k in (0.7, 0.8, 0.9, 0.95)]
    assert names["one"].config.select.rule == "top"


def test_the_page_on_checking_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(tmp_path)
    (tmp_path / "toy.yaml").rename(tmp_path / "my.yaml")
    monkeypatch.chdir(tmp_path)
    (snippet,) = snippets(ROOT / "docs" / "checking.md", "python")
    exec(compile(snippet, "checking.md", "exec"), {})
    assert "warning prepare.vocabulary.size is 100, but this text gives only " in capsys.readouterr().out

    # The commands of a configuration, with a short measurement, and that of text
    text = (ROOT / "docs" / "checking.md").read_text(encoding="utf-8")
    commands = [shlex.split(line)[1:] for line in re.findall(r"^\$ (neuronspec .*my\.yaml.*)", text, re.M)]
    assert [words[0] for words in commands] == ["check", "check", "run"]
    for words in commands:
        quick = ["--seconds", "0.1"] if words[0] == "check" else []
        assert run_command(*words, *quick) == 0
    assert "prepare" in capsys.readouterr().out
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpus.de.tsv").rename(tmp_path / "corpora" / "corpus.de.tsv")
    assert run_command("check", "corpora/") == 0
    assert not (tmp_path / "run").exists()


def test_the_page_on_neurons_names_every_architecture_and_rule() -> None:
    page = (ROOT / "docs" / "neurons.md").read_text(encoding="utf-8")
    missing = [name for name in (*ARCHITECTURES, *RULES) if f"`{name}`" not in page]
    assert missing == []


def make_nllb() -> tuple[M2M100ForConditionalGeneration, NllbTokenizer]:
    """Return a small random model and tokenizer of the classes that the README names."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *"▁ GutenTagodyG.", "mask"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = NllbTokenizer(vocab=vocabulary, merges=[])
    config = M2M100Config(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
    )
    return M2M100ForConditionalGeneration(config), tokenizer


def test_the_api_in_the_readme_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer = make_nllb()
    monkeypatch.setattr(AutoModelForSeq2SeqLM, "from_pretrained", lambda name: model)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda name: tokenizer)

    (snippet,) = snippets(ROOT / "README.md", "python")
    names: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["counts"].tasks == names["masks"].tasks == ("de-en", "en-de")
    assert len(names["translations"]["de-en"]) == 1
    assert "nrefs:1" in capsys.readouterr().out

    # What the text below the snippet says of a specialized model
    batch = tokenizer(["Guten Tag."], text_target=["Good day."], return_tensors="pt")
    assert model(**batch, tasks=["de-en"]).loss.item() > 0
    assert ns.prune(model, names["masks"], "de-en") is not None


def test_the_first_example_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    model, tokenizer = make_nllb()
    model.save_pretrained("small")
    tokenizer.save_pretrained("small")
    Path("data/nllb").mkdir(parents=True)
    for code in ("lb", "is"):
        rows = (
            f"Good {''.join(letters)}.\tGuten Tag {''.join(letters)}.\n"
            for letters in islice(permutations("Tagody"), 200)
        )
        Path(f"data/nllb/{code}.tsv").write_text("".join(rows), encoding="utf-8")

    # The commands as they are shown, with a small model in place of NLLB's, and less of everything
    smaller = ["model.pretrained=small", "continued.updates=1", "tasks=[en-lb,lb-en]", "score.trials=100"]
    smaller += [
        "translate.beams=1",
        "translate.max_tokens=4",
        "analyze.figures=false",
        "record.states=false",
        "analyze.permutations=99",
    ]
    commands = re.findall(r"^\$ neuronspec ([^#\n]*)", snippets(ROOT / "README.md", "console")[1], re.M)
    assert [command.split()[0] for command in commands] == ["init", "check", "run", "compare", "export"]
    for command in commands:
        words = shlex.split(command)
        changes = {"run": smaller, "check": ["model.pretrained=small"], "export": ["--sentences", "2"]}
        words += [*changes.get(words[0], []), *(["--seconds", "0.1"] if words[0] == "check" else [])]
        assert run_command(*words) == 0, command
    assert (tmp_path / "en-lb" / "model.safetensors").is_file()
    systems = {path.name for path in Path("runs/nllb/train").iterdir()}
    assert {"fine_tune", "lora", "neuron_specialization", "random_neurons"} <= systems


def test_batches_of_a_tokenizer_count_no_padding_on_either_side() -> None:
    model, tokenizer = make_nllb()
    batch = tokenizer(["Guten Tag.", "Tag."], text_target=["G.", "Good day."], return_tensors="pt", padding=True)
    counts = ns.record_activations(model, [{**batch, "tasks": ["de-en", "de-en"]}], "token")

    padding = tokenizer.pad_token_id
    assert (batch["labels"] == padding).any()
    assert (batch["input_ids"] == padding).any()
    assert counts.totals["encoder"].tolist() == [int((batch["input_ids"] != padding).sum())]
    assert counts.totals["decoder"].tolist() == [int((batch["labels"] != padding).sum())]
