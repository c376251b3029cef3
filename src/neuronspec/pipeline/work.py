"""What each stage does; every verb of the command line ends in one of these."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.schema import SEED, Config
from neuronspec.config.sections import Training
from neuronspec.data.batches import Tensors
from neuronspec.data.preparation import prepare_text
from neuronspec.data.task_format import special_ids
from neuronspec.data.texts import Texts
from neuronspec.data.vocabulary import learn_vocabulary, sample_sentences
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.metrics import METRICS
from neuronspec.files import hash_path, publish, write_json
from neuronspec.languages import split_direction
from neuronspec.libraries import find_library, import_library
from neuronspec.methods import find_method, make_method
from neuronspec.methods.parts import load_parts
from neuronspec.methods.saved import ARTEFACTS
from neuronspec.models.building import build_model, configure_model, count_parameters
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_model, load_tokenizer, save_model
from neuronspec.names import child
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import COUNTS_FILE, MASKS_FILE
from neuronspec.neurons.mask_sources import select_masks
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.tokens import announce_lengths, encode_texts, open_dataset, open_pretrained_codec
from neuronspec.processes import join_processes
from neuronspec.progress import show_progress
from neuronspec.specialization.auto_k import SHARES, search_k
from neuronspec.training.checkpoints import STATE
from neuronspec.training.loop import State, train, validate_tasks
from neuronspec.training.method import Corpora, Method, Resources, Search
from neuronspec.version import __version__


def prepare(config: Config, layout: Layout) -> None:
    """Read the text, learn the vocabulary (or take the pretrained model's), and encode."""
    codec = open_pretrained_codec(config)  # before any work
    texts = prepare_text(config, layout.text)
    if codec is None:
        tokenizer = _learn(config, texts)
        assert config.model.preset is not None
        codec = TextCodec(tokenizer, configure_model(config.model.preset, tokenizer))
    with publish(layout.vocabulary) as temporary:
        codec.tokenizer.save_pretrained(temporary)
    encode_texts(codec, texts, layout)
    announce_lengths(config, layout, texts, codec)


def pretrain(config: Config, layout: Layout) -> None:
    """Train the model from its preset, or take the pretrained one as it is (`train.updates` more)."""
    tokenizer = load_tokenizer(layout.vocabulary)
    if config.model.pretrained is not None:
        model = load_model(config.model.pretrained, config.model.revision, translates=True)
        if config.model.source_prefix is not None:
            model.config.source_prefix = config.model.source_prefix
    else:
        assert config.model.preset is not None
        model = build_model(
            config.model.preset,
            tokenizer,
            activation=config.model.activation,
            embeddings=config.model.embeddings,
            dropout=config.model.dropout,
            seed=config.seed,
        )
    _train(config, layout, PRETRAINED, model, tokenizer, Method(), config.train, None, config.seed)


def search(config: Config, layout: Layout, method: str) -> None:
    """Find out what a method needs before its training."""

    def load() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return load_model(layout.model(PRETRAINED)), load_tokenizer(layout.vocabulary)

    model, tokenizer = load()
    corpora = _corpora(config, layout, tokenizer, model)
    del model
    make_method(method, config.methods.get(method)).search(
        Search(
            layout.search(method),
            load,
            corpora,
            tuple(config.directions()),
            config.continued,
            config.sampling,
            config.methods[method].get(SEED, config.seed),
            config.device == "cpu",
        )
    )


def continue_training(config: Config, layout: Layout, method: str) -> None:
    """Continue to train the pretrained model with a method."""
    masks = NeuronMasks.from_pretrained(layout.masks) if (layout.masks / MASKS_FILE).is_file() else None
    made = make_method(method, config.methods.get(method))
    model, tokenizer = load_model(layout.model(PRETRAINED)), load_tokenizer(layout.vocabulary)
    seed = config.methods[method].get(SEED, config.seed)
    _train(config, layout, method, model, tokenizer, made, config.continued, masks, seed)


def record(config: Config, layout: Layout) -> None:
    """Count on the validation text how often each neuron is active for each task.

    Task by task, each one's counts published whole: an interrupted recording goes on with the next task. Several
    processes share the tasks, so that each task is counted as one process counts it.
    """
    model = to_device(load_model(layout.model(PRETRAINED)), config)
    tokenizer = load_tokenizer(layout.vocabulary)
    valid = open_dataset(config, layout, "valid", TextCodec(tokenizer, model.config))
    recording, processes = config.record, join_processes(config.device == "cpu")
    signature = {
        "model": hash_path(layout.model(PRETRAINED) / "model.safetensors"),
        "data": hash_path(layout.tokens("valid")),
        "version": __version__,
    }
    tasks = list(enumerate(config.directions()))[processes.process_index :: processes.num_processes]
    sizes = [len(lengths) for lengths in valid.lengths()]
    with show_progress("recording neurons", sum(sizes[number] for number, _ in tasks)) as advance:
        for number, task in tasks:
            part = child(layout.recording, task)
            if (part / COUNTS_FILE).is_file():
                advance(sizes[number])
                continue
            counts = record_activations(
                model,
                name_tasks(valid.in_order(recording.tokens_per_batch, number), task, advance),
                recording.unit,
                threshold=recording.threshold,
                gated_at=recording.gated_at,
                ignore=special_ids((task.format for task in valid.tasks), recording.ignore),
                means=recording.means,
                states=recording.states,
                signature=signature,
            )
            counts.save(part)
    processes.wait_for_everyone()
    if processes.is_main_process:
        parts = [ActivationCounts.load(child(layout.recording, task)) for task in config.directions()]
        ActivationCounts.concatenate(parts).save(layout.counts)
        shutil.rmtree(layout.recording)


def name_tasks(
    batches: Iterator[Tensors], task: str, advance: Callable[[int], None] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the batches of one task with its name in place of its number."""
    for batch in batches:
        yield {**batch, "tasks": [task] * len(batch["tasks"])}
        if advance is not None:
            advance(len(batch["tasks"]))


def select(config: Config, layout: Layout) -> None:
    """Select the specialised neurons of every task, and with `k: auto` first the k."""
    counts = ActivationCounts.load(layout.counts)
    selection = config.select
    if selection.k == "auto":
        model = to_device(load_model(layout.model(PRETRAINED)), config)
        codec = TextCodec(load_tokenizer(layout.vocabulary), model.config)
        valid = open_dataset(config, layout, "valid", codec)
        with show_progress("searching for k", len(SHARES)) as advance:

            def measure(model: PreTrainedModel) -> float:
                # This process alone: the others, where there are any, wait for the stage to end.
                loss = validate_tasks(model, valid, None, config.sampling.tokens_per_batch)["all"]
                advance()
                return loss

            choose = functools.partial(select_masks, selection)
            curve = search_k(model, counts, measure, selection.auto_k_tolerance, choose)
        write_json(layout.curve, curve.as_dict())
        masks = select_masks(selection, counts, curve.chosen)
    else:
        masks = select_masks(selection, counts, selection.k)
    masks.save_pretrained(layout.masks)


def check_needs(config: Config) -> None:
    """Refuse, before any work, a device or a library that a later stage would not find.

    Raises:
        NeuronspecError: `device` names one that torch does not see, a library of an extra is not installed, or the
            engine cannot translate with what a method adds.
    """
    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not seen.get(config.device, True):
        raise NeuronspecError(
            f"device: {config.device} is asked for, but torch sees none; use device=cpu or device=auto"
        )
    kinds = {name: find_method(name, options) for name, options in config.methods.items()}
    converts = config.translate.engine == "ctranslate2"
    needed = {
        ("ctranslate2", "ct2"): converts,
        ("peft", "lora"): any(kind.name == "lora" for kind in kinds.values()),
    }
    for (library, extra), asked in needed.items():
        if asked:
            find_library(library, "this run", extra)
        if asked and library != "peft":  # which takes seconds, and a finished run needs it no more
            import_library(library, "this run", extra)
    for key in ("distances", "against"):
        for name, path in getattr(config.analyze, key).items():
            if not path.exists():
                raise NeuronspecError(f"analysis.{key}.{name}: {path} does not exist")
    for metric in config.score.metrics:
        METRICS[metric].check()
    routed = [name for name, kind in kinds.items() if kind.routes or kind.name == "lass"]
    if converts and routed:
        raise NeuronspecError(f"translate.engine: ctranslate2 cannot translate with {routed[0]}; use transformers")


def to_device(model: PreTrainedModel, config: Config) -> PreTrainedModel:
    """Move a model to where the configuration says, which is where training runs too."""
    return model.to(join_processes(config.device == "cpu").device)


def _learn(config: Config, texts: Texts) -> PreTrainedTokenizerBase:
    files: dict[str, list[tuple[Path, int]]] = {}
    sizes: dict[str, int] = {}
    for pair, size in texts.sizes["train"].items():
        for column, language in enumerate(split_direction(pair)):
            files.setdefault(language, []).append((texts.path("train", pair), column))
            sizes[language] = sizes.get(language, 0) + size
    vocabulary = config.prepare.vocabulary
    with show_progress("learning the vocabulary", 1) as advance:
        sample = sample_sentences(files, sizes, vocabulary.temperature, vocabulary.sample, config.seed)
        tokenizer = learn_vocabulary(sample, vocabulary.size, sorted(sizes), vocabulary.character_coverage)
        advance()
    return tokenizer


def _corpora(config: Config, layout: Layout, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> Corpora:
    codec = TextCodec(tokenizer, model.config)
    return Corpora(*(open_dataset(config, layout, part, codec) for part in ("train", "valid")))


def _train(
    config: Config,
    layout: Layout,
    system: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    method: Method,
    training: Training,
    masks: NeuronMasks | None,
    seed: int,
) -> None:
    """Run the loop and publish the model that it ends with."""
    if not training.updates:
        _publish(
            config, layout, system, State(), lambda path: save_model(model, path, tokenizer), count_parameters(model)
        )
        return
    parameters = count_parameters(model)
    corpora = _corpora(config, layout, tokenizer, model)
    resources = Resources(
        tuple(config.directions()),
        masks,
        seed,
        layout.search(system) if layout.search(system).is_dir() else None,
        tuple(len(lengths) for lengths in corpora.train.lengths()),
        config.pivot,
    )
    checkpoint, state = train(
        model,
        tokenizer,
        corpora,
        method,
        resources,
        training=training,
        sampling=config.sampling,
        directory=layout.training(system),
        title=f"training: {system}",
        cpu=config.device == "cpu",
    )

    def copy(path: Path) -> None:
        shutil.copytree(checkpoint, path, ignore=shutil.ignore_patterns(STATE))

    added = _count_added(checkpoint) if method.parts is not None else 0
    _publish(config, layout, system, state, copy, parameters + added, added)


def _count_added(directory: Path) -> int:
    """Return how many parameters a method added to the model in a directory, which need not be the last one."""
    places = [directory / name for name in ARTEFACTS if (directory / name).is_file()]
    return sum(tensor.numel() for place in places for tensor in load_parts(place)[0].values())


def _publish(
    config: Config,
    layout: Layout,
    system: str,
    state: State,
    write_model: Callable[[Path], Any],
    parameters: int,
    added: int = 0,
) -> None:
    """Publish a trained model, and what it took."""
    if not join_processes(config.device == "cpu").is_main_process:
        return
    with publish(layout.model(system)) as temporary:
        write_model(temporary)
    artefacts = [layout.model(system) / name for name in ARTEFACTS]
    summary = asdict(state) | {
        "parameters": parameters,
        "parameters_added": added,
        "extra_bytes": sum(file.stat().st_size for file in artefacts if file.is_file()),
    }
    write_json(layout.summary(system), summary)
