from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from sentencepiece import SentencePieceTrainer
from tests.pipeline.running import run, stages_of
from tests.stage_lines import reasons_of

from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.metric import Metric, MetricOptions, mean_score
from neuronspec.evaluation.metrics import METRICS
from neuronspec.methods import method_options
from neuronspec.pipeline import requirements
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.run_check import check_plan

METHODS = "methods={fine_tune: {}, neuron_specialization: {}, random_neurons: {}}"
TRANSLATE = {
    f"translate.{name}"
    for name in (
        *("pretrained", "pretrained+masks", "pretrained+random"),
        *("fine_tune", "neuron_specialization", "random_neurons"),
    )
}
TRAIN = {"train.fine_tune", "train.neuron_specialization", "train.random_neurons"}
MASKED = {"train.neuron_specialization", "train.random_neurons"}

Load = Callable[..., Config]
WriteProject = Callable[..., None]


@pytest.fixture
def load(tmp_path: Path, write_project: WriteProject) -> Load:
    """Load the small project's recipe with changes."""
    write_project(tmp_path, sentences=5)
    return lambda *changes: load_config(
        tmp_path / "toy.yaml", [METHODS, f"out={tmp_path / 'run'}", *changes], method_options()
    )


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], dict[str, str]]:
    """For each stage that ran since the last call, the reason; nothing for what was done before."""
    caplog.set_level(logging.INFO, logger="neuronspec")

    def take() -> dict[str, str]:
        # Warnings are no stages: the vocabulary of so little text is smaller than the recipe asks for.
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
        caplog.clear()
        others = {line: "" for line in told if not line.startswith("stage ")}
        return reasons_of(told) | others

    return take


def depends(config: Config) -> dict[str, set[str]]:
    """For each stage, the stages that make its inputs, all the way back."""
    stages = stages_of(config)
    before: dict[str, set[str]] = {}
    for stage in stages:
        makers = {other.name for other in stages if set(other.outputs) & set(stage.inputs)}
        assert makers <= set(before)  # each comes after what it needs
        before[stage.name] = makers.union(*(before[maker] for maker in makers))
    return before


def test_the_stages_come_in_order_and_each_makes_something_of_its_own(load: Load) -> None:
    config = load()
    stages = stages_of(config)
    outputs = [output for stage in stages for output in stage.outputs]
    assert len(outputs) == len(set(outputs))
    first = ["prepare", "train", "record", "select", "examples", "analyze"]
    assert [stage.name for stage in stages][:6] == first
    assert depends(config)["report"] >= {"prepare", "train", "select", "score"} | TRAIN | TRANSLATE


@pytest.mark.parametrize(
    ("change", "direct"),
    [
        ("name=other", {"analyze", "report"}),
        ("select.k=0.5", {"select"}),
        ("select.decoder_k=0.5", {"select"}),
        ("record.unit=token", {"record"}),
        ("record.threshold=0.1", {"record", "examples"}),
        ("analyze.permutations=200", {"analyze"}),
        ("analyze.examples=3", {"examples", "analyze"}),
        ("train.updates=17", {"train"}),
        ("continued.updates=9", TRAIN),
        ("sampling.temperature=1", {"train"} | TRAIN),
        ("model.activation=gelu", {"train"}),
        ("prepare.vocabulary.size=90", {"prepare"}),
        ("prepare.max_words=5", {"prepare"}),
        ("translate.beams=2", TRANSLATE),
        ("score.trials=200", {"score", "report"}),
        ("methods.neuron_specialization.stacks=encoder", {"train.neuron_specialization", "score", "report"}),
        ("threads=2", set()),
        ("device=auto", set()),
        ("train.report_to=[tensorboard]", set()),
        ("continued.keep_checkpoints=5", set()),
        ("record.tokens_per_batch=100", set()),  # R5: the counts do not depend on it
    ],
)
def test_a_key_changes_the_stages_whose_result_it_decides(load: Load, change: str, direct: set[str]) -> None:
    config = load()
    before, after = ({stage.name: stage.settings for stage in stages_of(one)} for one in (config, load(change)))
    assert {name for name in before if before[name] != after[name]} == direct


@pytest.mark.parametrize(
    ("change", "direct"),
    [
        ("ablate.share=0.1", {"ablate", "analyze"}),
        ("ablate.metric=chrf", {"ablate", "analyze"}),
        ("analyze.decoder=to", {"ablate", "analyze"}),
        ("analyze.shares=[0.5]", {"analyze"}),
        ("translate.beams=2", TRANSLATE),  # the loss does not depend on it
    ],
)
def test_a_key_of_the_ablation_changes_it_where_it_is_asked_for(load: Load, change: str, direct: set[str]) -> None:
    before, after = (
        {stage.name: stage.settings for stage in stages_of(config)}
        for config in (load("ablate=true"), load("ablate=true", change))
    )
    assert {name for name in before if before[name] != after[name]} == direct


def test_examples_and_ablation_are_stages_where_they_are_asked_for(load: Load) -> None:
    names = [
        {stage.name for stage in stages_of(config)}
        for config in (load(), load("analyze.examples=0"), load("ablate=true"))
    ]
    assert names[0] - names[1] == {"examples"}
    assert names[2] - names[0] == {"ablate"}
    before = depends(load("ablate=true"))
    assert before["ablate"] >= {"record", "select", "train"}
    assert not before["examples"] & {"record", "select"}
    assert before["analyze"] >= {"examples", "ablate"}


def test_masks_decide_only_what_uses_them(load: Load) -> None:
    before = depends(load())
    follow = {name for name, makers in before.items() if "select" in makers}
    assert follow == {
        *("analyze", "score", "report", "translate.pretrained+masks", "translate.pretrained+random"),
        *MASKED,
        *("translate.neuron_specialization", "translate.random_neurons"),
    }


@pytest.mark.parametrize(
    ("methods", "systems"),
    [
        ("{fine_tune: {}}", ["pretrained", "fine_tune"]),
        ("{}", ["pretrained", "pretrained+masks", "pretrained+random"]),
        (
            "{random_neurons: {}, fine_tune: {}}",
            ["pretrained", "pretrained+masks", "pretrained+random", "random_neurons", "fine_tune"],
        ),
    ],
)
def test_masks_are_made_where_a_method_uses_them_or_nothing_else_is_asked(
    load: Load, methods: str, systems: list[str]
) -> None:
    config = load(f"methods={methods}")
    assert Run(config).systems == systems
    names = {stage.name for stage in stages_of(config)}
    assert ({"record", "select", "analyze"} <= names) == ("pretrained+masks" in systems)
    assert {f"translate.{system}" for system in systems} <= names


def test_a_stage_that_is_not_there_is_refused_before_anything_is_written(load: Load) -> None:
    config = load("methods={fine_tune: {}}")
    with pytest.raises(NeuronspecError, match=r"no stage train\.fine_tun \(did you mean 'train\.fine_tune'"):
        run(config, until="train", only="fine_tun")
    with pytest.raises(NeuronspecError, match=r"no stage select; this run has prepare, train, train\.fine_tune"):
        run(config, until="select")
    assert not config.out.exists()


def test_a_second_run_does_nothing_and_the_record_of_the_configuration_loads(
    copied: Config, said: Callable[[], dict[str, str]]
) -> None:
    said()
    assert run(load_config(copied.out.parent / "toy.yaml", [f"out={Layout(copied.out).out}"])) == Layout(copied.out)
    assert said() == {}
    kept = load_config(Layout(copied.out).config)
    assert kept.model_dump(exclude={"data"}) == copied.model_dump(exclude={"data"})
    assert yaml.safe_load(Layout(copied.out).config.read_text(encoding="utf-8"))["train"]["updates"] == 16


def test_a_change_redoes_what_depends_on_it_and_says_why(copied: Config, said: Callable[[], dict[str, str]]) -> None:
    out = f"out={Layout(copied.out).out}"
    run(load_config(copied.out.parent / "toy.yaml", [out, "select.k=0.5", "threads=1"]), until="analyze")
    assert said() == {"select": "select.k: 0.9 -> 0.5", "analyze": "select has changed"}


def test_a_stage_whose_keys_and_inputs_are_the_same_is_left_alone(
    copied: Config, said: Callable[[], dict[str, str]]
) -> None:
    out = f"out={Layout(copied.out).out}"
    run(load_config(copied.out.parent / "toy.yaml", [out, "score.trials=150"]))
    assert said() == {
        "score": "score.trials: 100 -> 150",
        "report": "score.trials: 100 -> 150; score has changed",
    }


def test_what_was_edited_or_deleted_is_made_again_and_is_as_it_was(
    copied: Config, said: Callable[[], dict[str, str]]
) -> None:
    translations = Layout(copied.out).translations("fine_tune")
    table, model = (
        Layout(copied.out).report / "tables" / "averages.csv",
        Layout(copied.out).model("fine_tune") / "model.safetensors",
    )
    before = [path.read_bytes() for path in (translations / "de-en.txt", table, model)]
    (translations / "de-en.txt").write_text("nonsense\n", encoding="utf-8")
    table.unlink()
    model.unlink()
    run(copied)
    assert said() == {
        "train.fine_tune": f"{Layout(copied.out).model('fine_tune')} was changed",
        "resuming after 8 of 8 updates": "",
        "translate.fine_tune": f"{translations} was changed",
        "report": f"{Layout(copied.out).report} was changed",
    }
    assert [path.read_bytes() for path in (translations / "de-en.txt", table, model)] == before


def test_force_does_only_the_stage_that_was_asked_for_again(copied: Config, said: Callable[[], dict[str, str]]) -> None:
    run(copied, until="select", force=True)
    assert said() == {"select": "asked to"}
    before = load_file(Layout(copied.out).model("neuron_specialization") / "model.safetensors")
    run(copied, until="train", only="neuron_specialization", force=True)
    assert said() == {"train.neuron_specialization": "asked to"}
    after = load_file(Layout(copied.out).model("neuron_specialization") / "model.safetensors")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_until_runs_what_is_needed_and_nothing_else(
    load: Load, said: Callable[[], dict[str, str]], tmp_path: Path, write_project: WriteProject
) -> None:
    write_project(tmp_path, sentences=100)
    config = load("train.updates=0")
    layout = run(config, until="select")
    assert list(said()) == ["prepare", "train", "record", "select"]
    assert not layout.figures.exists()
    assert not layout.model("fine_tune").exists()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"translate": {"engine": "ctranslate2"}}, r"needs ctranslate2, .*pip install 'neuronspec\[ct2\]'"),
        ({"score": {"metrics": ["tokenized_bleu"]}}, r"needs sacremoses, .*'neuronspec\[moses\]'"),
        ({"methods": {"mine": {"method": "lora"}}}, r"needs peft, .*'neuronspec\[lora\]'"),
        ({"score": {"metrics": ["comet"]}}, "COMET needs an environment of its own"),
    ],
)
def test_what_a_late_stage_needs_is_missed_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], found: str
) -> None:
    values = {"data": {"train": [{"path": "x"}], "hold_out": {"valid": 0.1, "test": 0.1}}, "model": {"preset": "tiny"}}
    config = Config.model_validate(values | {"languages": ["de"], "out": tmp_path / "run"} | changes)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("NEURONSPEC_COMET_PYTHON", str(tmp_path / "none"))
    with pytest.raises(NeuronspecError, match=found):
        run(config)
    assert not (tmp_path / "run").exists()


def train_pieces(path: Path, text: str) -> None:
    """Write a SentencePiece model."""
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter([text] * 9),
            model_writer=file,
            vocab_size=40,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
        )


def test_scores_follow_the_content_of_the_files_that_metrics_read(
    copied: Config, tmp_path: Path, said: Callable[[], dict[str, str]]
) -> None:
    pieces = tmp_path / "sp.model"
    train_pieces(pieces, "the old cat sees a small house")
    metrics = {"metrics": ["spbleu"], "sentencepiece": pieces}
    config = copied.model_copy(update={"score": copied.score.model_copy(update=metrics)})
    run(config)
    assert {"score", "report"} <= set(said())
    run(config)
    assert said() == {}

    # Another model in the same place, for this run and for one that would share its scores
    train_pieces(pieces, "the young dog likes a big tree here")
    run(config.model_copy(update={"out": tmp_path / "other"}), share_from=[config.out])
    assert "shared from" not in said()["score"]
    run(config)
    assert said()["score"] == f"{pieces} has changed"


def test_a_metric_says_which_files_it_reads(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, parameters = tmp_path / "comet/checkpoints/model.ckpt", tmp_path / "comet/hparams.yaml"
    for model, files in (
        (tmp_path / "comet", [checkpoint, parameters]),
        (checkpoint, [checkpoint, parameters]),
        ("Unbabel/wmt22-comet-da", []),
    ):
        [stage] = [
            one for one in stages_of(load("score.metrics=[comet]", f"score.comet_model={model}")) if one.name == "score"
        ]
        assert [path for path in stage.inputs if not path.is_relative_to(tmp_path / "run")] == files

    # One of the user's own needs no other code.
    class Listed(Metric):
        def list_files(self, options: MetricOptions) -> list[Path]:
            return [tmp_path / "words.txt"]

    monkeypatch.setitem(METRICS._entries, "listed", Listed("listed", higher_is_better=True, score=mean_score))
    config = load("score.metrics=[listed]")
    with pytest.raises(NeuronspecError, match=r"^score\.metrics\.listed: .*words\.txt does not exist"):
        run(config)
    (tmp_path / "words.txt").write_text("one", encoding="utf-8")
    [stage] = [one for one in stages_of(config) if one.name == "score"]
    assert stage.inputs[-1] == tmp_path / "words.txt"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            "score={metrics: [spbleu], sentencepiece: PATH}",
            r"^score\.metrics\.spbleu: cannot read '.*' as a S",
        ),
        ("analyze.distances={trade: PATH}", r"^analyze\.distances\.trade: "),
        ("analyze.against={seed2: PATH}", r"^analyze\.against\.seed2: "),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_a_late_stage_cannot_read_is_refused_before_any_work(
    load: Load, tmp_path: Path, change: str, found: str, there: bool
) -> None:
    path = tmp_path / "given.file"
    if there:
        path.write_text("no such thing", encoding="utf-8")
    config = load(change.replace("PATH", str(path)))
    with pytest.raises(NeuronspecError, match=found):
        run(config)
    assert not (tmp_path / "run").exists()
    assert any(problem.level == "error" for problem in check_plan(Run(config), stages_of(config)))

    # What comes before that stage is not held up.
    first = [stage for stage in stages_of(config) if stage.name == "prepare"]
    assert not any(problem.level == "error" for problem in check_plan(Run(config), first))


def test_an_engine_that_cannot_translate_with_a_method_is_refused(tmp_path: Path) -> None:
    values = {"data": {"train": [{"path": "x"}], "hold_out": {"valid": 0.1, "test": 0.1}}, "model": {"preset": "tiny"}}
    changes = {"translate": {"engine": "ctranslate2"}, "methods": {"fine_tune": {}, "lass": {}}}
    config = Config.model_validate(values | {"languages": ["de"], "out": tmp_path / "run"} | changes)
    with pytest.raises(NeuronspecError, match="ctranslate2 cannot translate with lass"):
        run(config)
    with pytest.raises(ValueError, match="compute_type is for engine: ctranslate2"):
        Config.model_validate(values | {"languages": ["de"], "translate": {"compute_type": "int8"}})


def test_processes_that_cannot_share_the_batches_are_refused_before_any_work(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "count_processes", lambda: 2)
    config = load("train.batches_per_update=2", "continued.batches_per_update=3")
    with pytest.raises(NeuronspecError, match=r"^continued\.batches_per_update is 3: .*_per_update=2"):
        run(config)
    assert not (config.out / "prepare").exists()
    with pytest.raises(NeuronspecError, match=r"^train\.batches_per_update is 1"):
        run(load(), until="train")


def test_a_full_disk_is_foreseen(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load()
    stages = stages_of(config)
    assert not [problem for problem in check_plan(Run(config), stages) if problem.subject == "out"]
    full = shutil.disk_usage(config.out.parent)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: full)
    [problem] = [problem for problem in check_plan(Run(config), stages) if problem.subject == "out"]
    assert problem.level == "warning"
    assert "1 MB free" in problem.message
    # Stages without a training need hardly any.
    assert not [problem for problem in check_plan(Run(config), stages[:1]) if problem.subject == "out"]
