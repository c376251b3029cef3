"""What a run says about its stages: a line each, with the result in a few words."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.stage_lines import list_finished

from neuronspec.config.schema import Config
from neuronspec.data.store import TokenStore
from neuronspec.data.texts import Texts
from neuronspec.files import read_json
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.model_origin import find_untrained
from neuronspec.pipeline.plan import plan_stages
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.run_results import load_results
from neuronspec.pipeline.summary import describe_run
from neuronspec.training.journal import LOG_FILE, read_log


@pytest.fixture(scope="module")
def results(command: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The result of each stage, without its time, by the name of the stage."""
    found = {}
    for line in command.stderr.splitlines():
        if match := re.fullmatch(r"stage \d+ of \d+, (\S+): (.*) \([0-9.]+ s\)", line):
            found[match[1]] = match[2]
    return found


def test_every_stage_has_one_line_with_its_number(command: subprocess.CompletedProcess[str], finished: Config) -> None:
    lines = [line for line in command.stderr.splitlines() if line.startswith("stage ")]
    names = [stage.name for stage in plan_stages(Run(finished))]
    assert list_finished(lines) == names
    assert [line.partition(",")[0] for line in lines] == [
        f"stage {number} of {len(names)}" for number in range(1, len(names) + 1)
    ]

    # Lines for a log: nothing that moves a cursor, and nothing of it among the results
    assert "\r" not in command.stderr
    assert "\x1b" not in command.stderr
    assert "stage " not in command.stdout


def test_results_are_those_in_the_files(results: dict[str, str], finished: Config) -> None:
    layout = Layout(finished.out)
    sizes = {part: sum(pairs.values()) for part, pairs in Texts.load(layout.text).sizes.items()}
    text = f"{sizes['train']} training, {sizes['valid']} validation and {sizes['test']} test pairs; vocabulary of "
    assert results["prepare"].startswith(text)
    assert results["record"] == f"{2 * sizes['valid']} sentences of 4 directions, 4 layers"

    masks = NeuronMasks.from_pretrained(layout.masks)
    found = re.fullmatch(
        r"(\d+) of (\d+) neurons per direction and layer; sparsity (\S+) % in the encoder, (\S+) % in the decoder",
        results["select"],
    )
    assert found is not None
    on, of, encoder, decoder = found.groups()
    assert int(on) == round(int(of) * (1 - masks.mean_sparsity()))
    assert (encoder, decoder) == tuple(f"{100 * masks.mean_sparsity(stack):.1f}" for stack in ("encoder", "decoder"))

    for system, name in ((PRETRAINED, "train"), ("fine_tune", "train.fine_tune")):
        last = read_log(layout.training(system) / LOG_FILE)[-1]
        loss = f"validation loss {last['valid']['loss']['all']:.3f} after {last['update']} updates"
        assert results[name] == loss
        assert read_json(layout.summary(system))["update"] == last["update"]

    assert results["translate.fine_tune"] == f"{2 * sizes['test']} sentences of 4 directions"
    assert results["score"] == "5 systems in 4 directions by bleu, chrf"


def test_a_model_of_a_run_knows_what_it_was_trained_on(finished: Config, tmp_path: Path) -> None:
    model = Layout(finished.out).model("fine_tune")
    assert find_untrained(model, ["de-sv", "deu_Latn-en", "en-sv", "sv-de"]) == ["de-sv", "sv-de"]
    assert find_untrained(model.parent / "checkpoints", ["de-sv"]) == []
    assert find_untrained("org/model", ["de-sv"]) == []
    assert find_untrained(tmp_path, ["de-sv"]) == []


def test_the_summary_says_how_much_of_the_text_was_seen(finished: Config) -> None:
    layout = Layout(finished.out)
    report = load_results(finished, layout)
    store = TokenStore(layout.tokens("train"))
    whole = sum(int(store.lengths(pair, side)[:, 1].sum()) for pair in store.pairs for side in (0, 1))
    share = 100 * (report.study.costs[PRETRAINED].target_tokens or 0) / whole
    assert 10 < share < 100
    pairs = sum(store.pairs.values())
    sentence = describe_run(report, layout)[0]
    assert (
        f"trained for 16 updates on {pairs} sentence pairs, of which it saw about {share:.2g} %, and tested" in sentence
    )

    base = replace(report.study.costs[PRETRAINED], updates=0)
    untrained = replace(report, study=replace(report.study, costs={**report.study.costs, PRETRAINED: base}))
    assert "used as it is, without training, and tested on" in describe_run(untrained, layout)[0]
