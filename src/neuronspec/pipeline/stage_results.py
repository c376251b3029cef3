"""Results of stages in a few words for the terminal, read from the files of the run."""

from __future__ import annotations

from neuronspec.data.texts import Texts
from neuronspec.files import read_json
from neuronspec.layer_names import STACKS, stack_of
from neuronspec.methods.add_language.planning import find_own_neurons
from neuronspec.models.additions import read_additions
from neuronspec.models.embeddings import count_embeddings
from neuronspec.models.loading import load_configuration, load_tokenizer
from neuronspec.names import child
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.neuron_ablation import load_ablations
from neuronspec.pipeline.run import Run
from neuronspec.statistics.numbers import count_noun
from neuronspec.training.journal import LOG_FILE, read_log


def describe_text(run: Run) -> str:
    """Say how much text was prepared."""
    sizes = Texts.load(run.layout.text).sizes
    train, valid, test = (sum(sizes[part].values()) for part in ("train", "valid", "test"))
    vocabulary = len(load_tokenizer(run.layout.vocabulary))
    return f"{train:,} training, {valid:,} validation and {test:,} test pairs; vocabulary of {vocabulary:,}"


def describe_training(run: Run, system: str) -> str:
    """Say how long a model was trained, and its loss on the validation text."""
    state = read_json(run.layout.summary(system))
    if system == PRETRAINED and run.config.model.extend is not None:
        return _describe_room(run)
    if not state["update"]:
        return "the model is used as it is, without training"

    # The loss of the checkpoint that was published: of the best one, or of the last.
    settings = run.config.train if system == PRETRAINED else run.config.continued
    update, loss = state["best_update"], state["best_loss"]
    log = read_log(run.layout.training(system) / LOG_FILE)
    if settings.select == "last" and log:
        update, loss = log[-1]["update"], log[-1]["valid"]["loss"]["all"]

    if settings.select == "last":
        return f"validation loss {loss:.3f} after {update:,} {'update' if update == 1 else 'updates'}"
    return f"validation loss {loss:.3f} at update {update:,}, the best of {state['update']:,}"


def _describe_room(run: Run) -> str:
    """Say what a model has got for new languages."""
    config = load_configuration(run.layout.model(PRETRAINED))
    last = read_additions(config)[-1]
    tokens = count_noun((count_embeddings(config, "target") or last.vocabulary) - last.vocabulary, "new token")

    masks = NeuronMasks.from_pretrained(run.layout.model(PRETRAINED))
    own = [int(neurons.sum()) for neurons in find_own_neurons(masks, last.tasks).values()]
    return f"{tokens}, {min(own):,} to {max(own):,} neurons a layer for {', '.join(last.tasks)}"


def describe_counts(run: Run) -> str:
    """Say on how much text neurons were recorded."""
    counts = run.load_counts()
    seen = max(int(totals.sum()) for totals in counts.totals.values())
    unit = "sentences" if counts.unit == "sentence" else "tokens"
    return f"{seen:,} {unit} of {count_noun(len(counts.tasks), 'direction')}, {count_noun(len(counts.layers), 'layer')}"


def describe_masks(run: Run) -> str:
    """Say how many neurons were selected."""
    masks = run.load_masks()
    k = f"k = {read_json(run.layout.curve)['chosen']:g}: " if run.config.select.k == "auto" else ""
    return f"{k}{_describe_selection(masks)}"


def _describe_selection(masks: NeuronMasks) -> str:
    """Say how many neurons are on, in the mean over layers and directions, and what share is off in each stack."""
    widths = list(masks.widths.values())
    on = [width * (1 - off) for width, off in zip(widths, masks.sparsity_by_layer().values(), strict=True)]
    mean = sum(on) / len(on)
    of = f" of {widths[0]:,}" if len(set(widths)) == 1 else ""

    stacks = [stack for stack in STACKS if any(stack_of(layer) == stack for layer in masks.layers)]
    shares = ", ".join(f"{100 * masks.mean_sparsity(stack):.1f} % in the {stack}" for stack in stacks)
    return f"{mean:,.0f}{of} neurons per direction and layer; sparsity {shares}"


def describe_examples(run: Run) -> str:
    """Say how many sentences were kept for how many neurons."""
    examples = run.load_examples()
    assert examples is not None
    neurons = sum(len(values) for values in examples.values.values())
    return f"up to {count_noun(examples.top, 'sentence')} for each of {neurons:,} neurons"


def describe_ablation(run: Run) -> str:
    """Say whose neurons were switched off."""
    found = load_ablations(run.layout.ablation)
    if not found:
        return "no stack has two languages to compare"
    parts = [f"{count_noun(len(one.tasks), 'text')} ({stack})" for stack, one in found.items()]
    return f"own and other neurons switched off for {', '.join(parts)}"


def describe_translations(run: Run, system: str) -> str:
    """Say how many sentences were translated."""
    directory, tasks = run.layout.translations(system), run.tested_directions
    lines = 0
    for task in tasks:
        with child(directory, task, ".txt").open("rb") as file:
            lines += sum(1 for _ in file)
    return f"{lines:,} sentences of {count_noun(len(tasks), 'direction')}"


def describe_scores(run: Run) -> str:
    """Say what was scored."""
    metrics = ", ".join(run.config.score.metrics)
    systems, tasks = count_noun(len(run.systems), "system"), count_noun(len(run.tested_directions), "direction")
    return f"{systems} in {tasks} by {metrics}"
