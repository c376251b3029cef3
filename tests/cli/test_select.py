"""`neuronspec select`: masks from a run or from counts, and what can be made of masks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tests.cli.conftest import Start
from tests.command import run_command
from tests.pipeline.running import run
from tests.stage_lines import read_stages

from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.data.batches import BatchDataset, TaskData
from neuronspec.data.store import TokenStore
from neuronspec.methods import method_options
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import COUNTS_FILE, MASKS_FILE
from neuronspec.neurons.mask_comparison import compare_masks
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import Layout
from neuronspec.specialization.auto_k import K_GRID
from neuronspec.specialization.masking import specialize
from neuronspec.training.validation import validate_tasks

RECIPE = """
name: small
out: run
threads: 1
device: cpu
languages: [de, sv]
data:
  train: [{path: "corpus.{lang}.tsv"}]
  hold_out: {valid: 0.2, test: 0.2}
prepare: {vocabulary: {size: 80}}
model: {preset: tiny}
train: {updates: 0}
analyze: {figures: false, resamples: 0, permutations: 99}
select: {k: 0.9}
"""
WORDS = {
    "en": ["one", "two", "three", "four", "five", "six", "seven"],
    "de": ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben"],
    "sv": ["ett", "två", "tre", "fyra", "fem", "sex", "sju"],
}
TASKS = ("en-de", "en-sv", "de-en", "sv-en")

Call = Callable[..., int]
Said = pytest.CaptureFixture[str]


def load(folder: Path, *overrides: str) -> Config:
    return load_config(folder / "small.yaml", [f"out={folder / 'run'}", *overrides], method_options())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run up to its masks. Read only."""
    folder = tmp_path_factory.mktemp("select")
    for language in ("de", "sv"):
        lines = [
            f"{a} and {b}\t{x} & {y}\n"
            for a, x in zip(WORDS["en"], WORDS[language], strict=True)
            for b, y in zip(WORDS["en"], WORDS[language], strict=True)
        ]
        (folder / f"corpus.{language}.tsv").write_text("".join(lines), encoding="utf-8")
    (folder / "small.yaml").write_text(RECIPE, encoding="utf-8")
    run(load(folder), until="select")
    return folder


@pytest.fixture
def project(folder: Path, tmp_path: Path) -> Path:
    """The recipe of a copy of the run, to do things to; its corpora are the original's."""
    shutil.copytree(folder / "run", tmp_path / "run")
    recipe = RECIPE.replace('"corpus.', f'"{folder}/corpus.')
    (tmp_path / "small.yaml").write_text(recipe, encoding="utf-8")
    return tmp_path


@pytest.fixture
def masks(folder: Path) -> NeuronMasks:
    return NeuronMasks.from_pretrained(folder / "run/select")


@pytest.fixture
def counts(folder: Path) -> ActivationCounts:
    return ActivationCounts.load(folder / "run/record")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, project: Path) -> Call:
    """Call `neuronspec select` in the copy of the project; return its exit code."""
    monkeypatch.chdir(project)

    def select(*arguments: str) -> int:
        return run_command("select", *arguments)

    return select


def read_json(capsys: Said) -> Any:
    return json.loads(capsys.readouterr().out)


def assert_shown(said: Any, masks: NeuronMasks) -> None:
    """What JSON says of masks: the sparsity of each task in each layer, and the signature."""
    assert said["signature"] == masks.signature
    assert list(said["sparsity"]) == list(masks.layers)
    for layer, values in masks.sparsity().items():
        assert said["sparsity"][layer] == dict(zip(masks.tasks, values.tolist(), strict=True))


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Content and time of every file, without the memory of hashes, which those who only read complete as well."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parts[-2:] != ("stages", "hashes"))
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def measure_by_hand(folder: Path, masks: NeuronMasks) -> float:
    layout = Layout(folder / "run")
    model, tokenizer = load_model(layout.model("pretrained")), load_tokenizer(layout.vocabulary)
    sides = {"en-de": ("en-de", 0), "en-sv": ("en-sv", 0), "de-en": ("en-de", 1), "sv-en": ("en-sv", 1)}
    tasks = [
        TaskData(task, pair, side, TextCodec(tokenizer, model.config).format(task))
        for task, (pair, side) in sides.items()
    ]
    valid = BatchDataset(TokenStore(layout.tokens("valid")), tasks)
    return validate_tasks(specialize(model, masks), valid, Accelerator(cpu=True), 500)["all"]


# A configuration


def test_the_masks_of_a_run(call: Call, capsys: Said, masks: NeuronMasks, counts: ActivationCounts) -> None:
    assert call("small.yaml", "--json") == 0
    assert_shown(read_json(capsys), masks)
    assert masks.tasks == TASKS
    assert masks == NeuronMasks.from_counts(counts, 0.9)
    assert call("small.yaml") == 0
    first, *layers, last = capsys.readouterr().out.splitlines()
    assert first == repr(masks)
    assert layers == [f"{layer}: {100 * off.mean():.1f} % off" for layer, off in masks.sparsity().items()]
    assert last == "the masks are in run/select"


def test_the_directory_of_a_run_stands_for_its_configuration(call: Call, capsys: Said, masks: NeuronMasks) -> None:
    assert call("run", "--json") == 0
    assert_shown(read_json(capsys), masks)


@pytest.mark.parametrize("source", ["small.yaml", "run"])
def test_another_k_is_a_look_that_leaves_the_run_as_it_is(
    source: str, call: Call, capsys: Said, counts: ActivationCounts
) -> None:
    before = snapshot(Path("run"))
    assert call(source, "select.k=0.5", "select.decoder_k=0.7", "--json") == 0
    expected = NeuronMasks.from_counts(counts, 0.5, decoder_k=0.7)
    assert_shown(read_json(capsys), expected)
    assert call(source, "select.k=0.5") == 0
    hint = "nothing is written: give --to DIR, or --out DIR for a run of its own; --force changes run"
    assert capsys.readouterr().out.splitlines()[-1] == hint
    assert call(source, "select.k=0.5", "select.decoder_k=0.7", "--to", "made") == 0
    assert NeuronMasks.from_pretrained("made") == expected
    assert snapshot(Path("run")) == before


def test_another_k_is_selected_in_a_run_of_its_own_that_shares_the_rest(
    call: Call, capsys: Said, caplog: pytest.LogCaptureFixture, counts: ActivationCounts
) -> None:
    caplog.set_level("INFO", logger="neuronspec")
    before = snapshot(Path("run"))
    assert call("run", "select.k=0.5", "--out", "fewer") == 0
    shared = [f"{stage}: shared from run" for stage in ("prepare", "train", "record")]
    assert read_stages(caplog.messages) == [*shared, "select: finished"]
    assert capsys.readouterr().out.endswith("the masks are in fewer/select\n")
    assert NeuronMasks.from_pretrained("fewer/select") == NeuronMasks.from_counts(counts, 0.5)
    assert snapshot(Path("run")) == before

    # That run is finished as well: it is neither replaced by another look nor by what its model run has.
    made = snapshot(Path("fewer"))
    assert call("run", "select.k=0.7", "--out", "fewer") == 0
    assert call("run", "--out", "fewer") == 0
    assert snapshot(Path("fewer")) == made


def test_another_k_replaces_the_selection_by_force(call: Call, capsys: Said, counts: ActivationCounts) -> None:
    stamp = Path("run/record", COUNTS_FILE).stat().st_mtime_ns
    assert call("small.yaml", "select.k=0.5", "--force") == 0
    assert capsys.readouterr().out.endswith("the masks are in run/select\n")
    assert NeuronMasks.from_pretrained("run/select") == NeuronMasks.from_counts(counts, 0.5)
    assert Path("run/record", COUNTS_FILE).stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (["train.updates=3"], "train.updates: 0 -> 3 would replace finished results in run (train): give --out DIR"),
        (["--seed", "5"], "seed: 1 -> 5 would replace finished results in run (prepare, train): give --out DIR"),
        (["select.k=0.5", "record.unit=token"], "record.unit: sentence -> token"),
    ],
)
def test_what_would_replace_more_than_the_selection_is_refused(
    changes: list[str], found: str, call: Call, capsys: Said
) -> None:
    before = snapshot(Path("run"))
    assert call("small.yaml", *changes) == 2
    assert capsys.readouterr().err.startswith(f"error: {found}")
    assert snapshot(Path("run")) == before


def test_an_edited_recipe_is_redone_with_the_reason(
    call: Call, caplog: pytest.LogCaptureFixture, counts: ActivationCounts
) -> None:
    caplog.set_level("INFO", logger="neuronspec")
    recipe = Path("small.yaml").read_text(encoding="utf-8")
    Path("small.yaml").write_text(recipe.replace("{k: 0.9}", "{k: 0.5}"), encoding="utf-8")
    assert call("small.yaml") == 0
    assert read_stages(caplog.messages)[-2:] == ["select again: select.k: 0.9 -> 0.5", "select: finished"]
    assert NeuronMasks.from_pretrained("run/select") == NeuronMasks.from_counts(counts, 0.5)


def test_a_change_without_effect_changes_nothing(call: Call, masks: NeuronMasks) -> None:
    before = snapshot(Path("run"))
    assert call("small.yaml", "threads=2", "train.keep_checkpoints=5", "analyze.permutations=199") == 0
    assert snapshot(Path("run")) == before


def test_a_first_selection_is_made_as_asked(call: Call, counts: ActivationCounts) -> None:
    shutil.rmtree("run/select")
    Path("run/stages/select.json").unlink()
    assert call("small.yaml", "select.k=0.5") == 0
    assert NeuronMasks.from_pretrained("run/select") == NeuronMasks.from_counts(counts, 0.5)


def test_the_masks_of_a_run_are_copied_where_one_says(call: Call, capsys: Said, masks: NeuronMasks) -> None:
    assert call("small.yaml", "--to", "copy") == 0
    assert capsys.readouterr().out.endswith("the masks are in copy\n")
    assert NeuronMasks.from_pretrained("copy") == masks


def test_auto_k_in_a_process_of_its_own(start: Start, project: Path, folder: Path, counts: ActivationCounts) -> None:
    before = snapshot(project / "run")
    done = start(project, "select", "small.yaml", "--auto-k", "--to", "found", "--json")
    assert done.returncode == 0, done.stderr
    assert "again" not in done.stderr
    said = json.loads(done.stdout)
    curve = said["auto_k"]
    assert snapshot(project / "run") == before
    assert [point["k"] for point in curve["curve"]] == list(K_GRID)
    most = curve["curve"][-1]["loss"] * (1 + curve["tolerance"])
    assert curve["tolerance"] == 0.01
    within = [point["loss"] <= most for point in curve["curve"]]
    first = max((n for n, good in enumerate(within) if not good), default=-1) + 1
    assert curve["chosen"] == K_GRID[first]
    masks = NeuronMasks.from_pretrained(project / "found")
    assert masks == NeuronMasks.from_counts(counts, curve["chosen"])
    assert_shown(said, masks)
    for number in (0, 5, -1):
        point = curve["curve"][number]
        tried = NeuronMasks.from_counts(counts, point["k"])
        assert point["loss"] == pytest.approx(measure_by_hand(folder, tried), rel=1e-5)
        assert point["sparsity"] == pytest.approx(
            sum(off.mean() for off in tried.sparsity().values()) / len(tried.layers)
        )


def test_auto_k_prints_the_curve_and_a_number_undoes_it(call: Call, capsys: Said, masks: NeuronMasks) -> None:
    assert call("small.yaml", "--auto-k", "select.auto_k_tolerance=0.05", "--force") == 0
    printed = capsys.readouterr().out
    curve = json.loads(Path("run/select/auto_k.json").read_text(encoding="utf-8"))
    assert curve["tolerance"] == 0.05
    assert printed.startswith("Validation loss of the masked, untrained model")
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if line.startswith("│")]
    assert [float(row[0]) for row in rows] == list(K_GRID)
    assert [row[1].strip() for row in rows] == [f"{point['loss']:.4f}" for point in curve["curve"]]
    assert [float(row[0]) for row in rows if row[4].strip() == "chosen"] == [curve["chosen"]]
    assert float(rows[-1][2]) == float(rows[-1][3]) == 0
    assert repr(NeuronMasks.from_pretrained("run/select")) in printed

    recipe = Path("small.yaml").read_text(encoding="utf-8")
    Path("small.yaml").write_text(recipe.replace("{k: 0.9}", "{k: auto, auto_k_tolerance: 0.05}"), encoding="utf-8")
    stamp = Path("run/select/auto_k.json").stat().st_mtime_ns
    assert call("small.yaml") == 0  # the same, said in the recipe: nothing is searched for again
    assert capsys.readouterr().out == printed
    assert Path("run/select/auto_k.json").stat().st_mtime_ns == stamp

    Path("small.yaml").write_text(recipe, encoding="utf-8")
    assert call("small.yaml", "--json") == 0
    said = read_json(capsys)
    assert "auto_k" not in said
    assert_shown(said, masks)
    assert [path.name for path in Path("run/select").iterdir()] == [MASKS_FILE]


def test_a_recipe_may_ask_for_auto_k_with_another_k_for_a_stack(
    call: Call, capsys: Said, counts: ActivationCounts
) -> None:
    changes = ["select.k=auto", "select.encoder_k=1", "select.rule=top"]
    assert call("small.yaml", *changes, "--to", "found", "--json") == 0
    said = read_json(capsys)
    expected = NeuronMasks.from_counts(counts, said["auto_k"]["chosen"], encoder_k=1, rule="top")
    assert NeuronMasks.from_pretrained("found") == expected
    assert set(said["sparsity"]["encoder.0"].values()) == {0.0}


# Counts


@pytest.mark.parametrize("place", ["run/record", f"run/record/{COUNTS_FILE}"])
def test_masks_of_counts(place: str, call: Call, capsys: Said, counts: ActivationCounts) -> None:
    assert call(place, "select.rule=top", "select.k=0.25", "select.layer_k={decoder.1: 0.5}", "--json") == 0
    said = read_json(capsys)
    expected = NeuronMasks.from_counts(counts, 0.25, rule="top", layer_k={"decoder.1": 0.5})
    assert_shown(said, expected)
    assert call(place, "select.rule=top", "select.k=0.25", "select.layer_k={decoder.1: 0.5}", "--to", "made") == 0
    assert capsys.readouterr().out.endswith("the masks are in made\n")
    assert NeuronMasks.from_pretrained("made") == expected
    assert NeuronMasks.from_pretrained("run/select") != expected  # those of the run stay


@pytest.mark.parametrize("place", ["run/record", f"run/record/{COUNTS_FILE}", "counts.v2"])
def test_nothing_is_written_unless_one_says_where(place: str, call: Call, capsys: Said) -> None:
    shutil.copytree("run/record", "counts.v2")
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    assert call(place) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing is written: give --to DIR"
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_options_of_a_rule(call: Call, capsys: Said, counts: ActivationCounts) -> None:
    overrides = ("select.rule=random", "select.k=0.7", "select.options={seed: 3}")
    assert call("run/record", *overrides, "--to", "made", "--json") == 0
    expected = NeuronMasks.from_counts(counts, 0.7, rule="random", seed=3)
    assert_shown(read_json(capsys), expected)
    assert NeuronMasks.from_pretrained("made") == expected


# Masks


@pytest.mark.parametrize("place", ["run/select", f"run/select/{MASKS_FILE}"])
def test_masks_are_shown(place: str, call: Call, capsys: Said, masks: NeuronMasks) -> None:
    assert call(place, "--json") == 0
    assert_shown(read_json(capsys), masks)
    assert call(place) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"the masks are in {place}"


@pytest.mark.parametrize("source", ["small.yaml", "run/select", "run/record"])
def test_masks_are_compared(source: str, call: Call, capsys: Said, masks: NeuronMasks) -> None:
    other = masks.random(masks, 5).reorder(["de-en", "en-de", "sv-en"])
    other.save_pretrained("other")
    changes = ["select.k=0.9"] if source == "run/record" else []
    assert call(source, *changes, "--compare", "other", "--json") == 0
    said = read_json(capsys)
    assert said == compare_masks(masks, other).as_dict()
    assert said["tasks"] == ["en-de", "de-en", "sv-en"]
    layer = said["layers"]["decoder.0"]
    mine, theirs = masks.mask("de-en", "decoder.0"), other.mask("de-en", "decoder.0")
    assert layer["iou"]["de-en"] == pytest.approx(float((mine & theirs).sum() / (mine | theirs).sum()))
    assert layer["first"]["de-en"] == pytest.approx(float(mine.double().mean()))
    assert call(source, *changes, "--compare", "other") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("The same tasks' neurons here and in other (3 tasks)")
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if line.startswith("│")]
    assert [row[0].strip() for row in rows] == list(masks.layers)
    ious = [list(layer["iou"].values()) for layer in said["layers"].values()]
    assert [float(row[1]) for row in rows] == pytest.approx([sum(iou) / 3 for iou in ious], abs=6e-4)
    assert [float(row[2]) for row in rows] == pytest.approx([min(iou) for iou in ious], abs=6e-4)


def test_masks_are_the_same_as_themselves(call: Call, capsys: Said) -> None:
    assert call("run/select", "--compare", f"run/select/{MASKS_FILE}", "--json") == 0
    layers = read_json(capsys)["layers"].values()
    assert {iou for layer in layers for iou in layer["iou"].values()} == {1.0}


@pytest.mark.parametrize("source", ["small.yaml", "run/select", "run/record"])
@pytest.mark.parametrize("directions", ["all", "sv-de", "sv-de,de-sv"])
def test_zero_shot_masks_are_composed(
    source: str, directions: str, call: Call, capsys: Said, masks: NeuronMasks
) -> None:
    changes = ["select.k=0.9"] if source == "run/record" else []
    assert call(source, *changes, "--compose", directions, "--to", "zero", "--json") == 0
    said = read_json(capsys)
    composed = NeuronMasks.from_pretrained("zero")
    assert_shown(said, composed)
    assert composed.tasks == (("de-sv", "sv-de") if directions == "all" else tuple(directions.split(",")))
    for task in composed.tasks:
        source_language, target_language = task.split("-")
        for layer in composed.layers:
            of = f"{source_language}-en" if layer.startswith("encoder") else f"en-{target_language}"
            assert torch.equal(composed.mask(task, layer), masks.mask(of, layer))


def test_another_pivot(call: Call, capsys: Said, masks: NeuronMasks) -> None:
    tasks = ["de-fr", "fr-sv", "sv-fr"]
    other = NeuronMasks(tasks, {layer: masks.layer(layer)[:3] for layer in masks.layers})
    other.save_pretrained("french")
    assert call("french", "--compose", "all", "--pivot", "fr", "--to", "zero") == 0
    assert NeuronMasks.from_pretrained("zero").tasks == ("de-sv",)
    assert capsys.readouterr().out.endswith("the masks are in zero\n")


@pytest.mark.parametrize("source", ["run/select", "run/record"])
def test_random_masks_have_the_same_sizes_and_follow_from_the_seed(
    source: str, call: Call, capsys: Said, masks: NeuronMasks
) -> None:
    changes = ["select.k=0.9"] if source == "run/record" else []
    for out, seed in (("a", ["--seed", "3"]), ("b", ["--seed", "3"]), ("c", ["--seed", "4"]), ("d", [])):
        assert call(source, *changes, "--random", *seed, "--to", out, "--json") == 0
        assert_shown(read_json(capsys), NeuronMasks.from_pretrained(out))
    a, b, c, d = map(NeuronMasks.from_pretrained, "abcd")
    assert a == b == masks.random(masks, 3)
    assert a != c
    assert d == masks.random(masks, 0)
    assert a.signature["seed"] == "3"
    for layer in masks.layers:
        assert torch.equal(a.layer(layer).sum(1), masks.layer(layer).sum(1))
        assert not torch.equal(a.layer(layer), masks.layer(layer))


def test_the_seed_of_a_random_control_does_not_make_the_run_again(call: Call, masks: NeuronMasks) -> None:
    """`--random --seed 3` on a configuration: the control of that run's masks, not the masks of another run."""
    before = {path: path.stat().st_mtime_ns for path in Path("run/train").rglob("*")}
    assert call("small.yaml", "--random", "--seed", "3", "--to", "control") == 0
    assert {path: path.stat().st_mtime_ns for path in Path("run/train").rglob("*")} == before
    assert NeuronMasks.from_pretrained("run/select") == masks
    assert NeuronMasks.from_pretrained("control") == masks.random(masks, 3)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["run/select", "--compare", "run/select", "--random"], "give one of --compare, --compose and --random"),
        (["run/select", "--compare", "run/select", "--compose", "all", "--to", "x"], "give one of --compare"),
        (["run/select", "--compose", "all", "--random", "--to", "x"], "give one of --compare"),
        (["run/select", "--compose", "all"], "missing --to DIR, the directory to write the masks to"),
        (["run/select", "--random"], "missing --to DIR, the directory to write the masks to"),
        (["run/select", "select.k=0.5"], "run/select holds masks, which are selected already: select.k=0.5 changes"),
        (["run/select", "--auto-k"], "--auto-k needs a configuration: its model and its validation text"),
        (["run/record", "--auto-k"], "--auto-k needs a configuration"),
        ([f"run/record/{COUNTS_FILE}", "--auto-k"], "--auto-k needs a configuration"),
        (["run/record", "select.k=auto"], "k: auto needs a configuration"),
        (["run/record", "select.k=2"], "select.k: must be a share from 0 to 1, or auto, not 2"),
        (["run/record", "select.rule=topp"], "select.rule"),
        (["run/record", "select.rule=lape", "select.decoder_k=0.5"], "the rule 'lape' has no k"),
        (["run/record", "select.options={seed: 3}"], "the rule 'coverage' has no option 'seed'; it has none"),
        (["run/record", "select.layer_k={decoder.7: 0.5}"], "no layer 'decoder.7' (did you mean "),
        (["run/record", "train.updates=3"], "only record.*, select.* can be changed, not train"),
        (["run/record", "k"], "cannot read the override 'k'"),
        (["run/select", "--compose", "de-fr", "--to", "x"], "no masks for the task 'en-fr'"),
        (["run/select", "--compose", "german", "--to", "x"], "no masks for the task 'german-en'"),
        (["run/select", "--compose", "de-sv,de-sv", "--to", "x"], "once each"),
        (["run/select", "--compose", "", "--to", "x"], "no masks for the task"),
        (["run/select", "--compose", "all", "--pivot", "fr", "--to", "x"], "masks"),
        (["run/select", "--compare", "narrow"], "nothing to compare: "),
        (["run/select", "--compare", "french"], "nothing to compare: "),
        (["run/select", "--compare", "nowhere"], "nowhere does not exist: expected neuron masks"),
        (["run/select", "--compare", "run/prepare/text"], "does not exist: expected neuron masks"),
        (["run/select", "--compare", "small.yaml"], "cannot read small.yaml: it is damaged or no safetensors file"),
        (["run/select", "--compare", f"run/record/{COUNTS_FILE}"], COUNTS_FILE),
        (["nowhere.safetensors"], "nowhere.safetensors does not exist: expected neuron masks"),
        (["broken.safetensors"], "cannot read broken.safetensors: it is damaged"),
        (["run/prepare/text"], "run/prepare/text holds neither activation counts nor masks"),
        (["moved"], "is no configuration (did you mean moved/select or moved/record?)"),
        (["run/record", "--out", "x"], "is no configuration: --out changes nothing here; --to DIR writes the masks"),
        (["run/select", "--seed", "1"], "run/select is no configuration: --seed changes nothing here"),
        (["nowhere"], "no configuration 'nowhere'"),
        (["nowhere", "--auto-k"], "no configuration 'nowhere'"),
        (["run/select", "--random", "--seed", "-3", "--to", "x"], "the seed must be a whole number from 0 on, not -3"),
        (["run/select", "--to", "small.yaml"], "a part of this path is a file"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence_and_nothing_is_written(
    arguments: list[str], found: str, call: Call, capsys: Said, masks: NeuronMasks
) -> None:
    NeuronMasks(TASKS, {layer: masks.layer(layer)[:, 1:] for layer in masks.layers}).save_pretrained("narrow")
    others = ("de-fr", "fr-de", "fr-sv", "sv-fr")
    NeuronMasks(others, {layer: masks.layer(layer) for layer in masks.layers}).save_pretrained("french")
    Path("broken.safetensors").write_bytes(Path("run/select", MASKS_FILE).read_bytes()[:200])
    for name in ("select", "record"):  # of a run whose configuration was left behind
        shutil.copytree(Path("run", name), Path("moved", name))
    before = sorted(Path().rglob("*"))
    code = call(*arguments)
    said = capsys.readouterr()
    assert (code, said.out) == (2, ""), said.err
    assert said.err.startswith("error: ")
    assert found in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert sorted(Path().rglob("*")) == before


def test_auto_k_with_a_rule_that_has_no_k_is_refused(call: Call, capsys: Said) -> None:
    """Whatever k, the masks would be the same: the smallest one would be chosen, and mean nothing."""
    code = call("small.yaml", "--auto-k", "select.rule=lape", "record.unit=token", "select.options={bar: 0.5}")
    assert code == 2, capsys.readouterr().out
    assert "lape" in capsys.readouterr().err


def test_searching_for_k_does_not_say_that_the_model_has_changed(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="neuronspec")
    assert call("small.yaml", "--auto-k", "--force") == 0
    assert [line for line in read_stages(caplog.messages) if "again" in line] == ["select again: asked to"]


def test_a_configuration_that_does_not_fit_is_refused_before_any_work(call: Call, capsys: Said) -> None:
    assert call("small.yaml", "select.auto_k_tolerance=-1", "select.rule=covrage") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "select.auto_k_tolerance" in said.err
    assert "select.rule" in said.err
