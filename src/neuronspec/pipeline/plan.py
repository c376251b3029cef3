"""Which stages a configuration asks for, in order, and what each of them depends on."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import PartialState

from neuronspec.config.schema import Config
from neuronspec.data.configured_corpora import list_corpus_files
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.files import refuse_links, write_text
from neuronspec.methods import find_method
from neuronspec.pipeline import analyzing, scoring, summary, translating, work
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.stages import Stage, run_stages
from neuronspec.pipeline.systems import MASKED, RANDOM
from neuronspec.processes import count_processes, join_processes

# What decides the batches of a run beside its encoded text.
_READING = ("languages", "tasks", "data.too_long")
# Keys that change how the work is done and shown, not its result.
_WITHOUT_EFFECT = {"report_to", "keep_checkpoints", "record.tokens_per_batch"}


def list_systems(config: Config) -> list[str]:
    """Return the systems that a run translates with, in the order of its table."""
    masked = [MASKED, RANDOM] if _needs_masks(config) else []
    return [PRETRAINED, *masked, *config.methods]


def plan_stages(config: Config, layout: Layout) -> list[Stage]:
    """Return the stages of a run, each after what it needs.

    Args:
        config: the configuration.
        layout: where things are.
    """
    return [
        _plan_prepare(config, layout),
        _plan_training(config, layout),
        *(_plan_neurons(config, layout) if _needs_masks(config) else ()),
        *(stage for method in config.methods for stage in _plan_method(config, layout, method)),
        *(_plan_translation(config, layout, system) for system in list_systems(config)),
        *_plan_results(config, layout),
    ]


def _plan_prepare(config: Config, layout: Layout) -> Stage:
    return Stage(
        "prepare",
        functools.partial(work.prepare, config, layout),
        _settings(
            config,
            "pivot",
            "languages",
            "tasks",
            "data",
            "prepare",
            "model.pretrained",
            "model.revision",
            "model.source_prefix",
            "translate.too_long",
            "seed",
        ),
        [*list_corpus_files([*config.data.train, *config.data.valid, *config.data.test]), *_local_model(config)],
        [layout.text, layout.vocabulary, layout.tokens("train"), layout.tokens("valid")],
    )


def _plan_training(config: Config, layout: Layout) -> Stage:
    return Stage(
        "train",
        functools.partial(work.pretrain, config, layout),
        _settings(config, *_READING, "model", "train", "sampling", "seed"),
        [layout.tokens("train"), layout.tokens("valid"), layout.vocabulary, *_local_model(config)],
        [layout.model(PRETRAINED), layout.summary(PRETRAINED)],
        [layout.training(PRETRAINED)],
        parallel=True,
    )


def _plan_neurons(config: Config, layout: Layout) -> list[Stage]:
    searched = (layout.model(PRETRAINED), layout.tokens("valid"))
    return [
        Stage(
            "record",
            functools.partial(work.record, config, layout),
            _settings(config, *_READING, "record"),
            [layout.model(PRETRAINED), layout.tokens("valid")],
            [layout.counts],
            [layout.recording],
            parallel=True,
        ),
        Stage(
            "select",
            functools.partial(work.select, config, layout),
            _settings(config, "select"),
            [layout.counts, *(searched if config.select.k == "auto" else ())],
            [layout.masks],
        ),
        *_plan_analysis(config, layout),
    ]


def _plan_analysis(config: Config, layout: Layout) -> list[Stage]:
    model, valid = layout.model(PRETRAINED), layout.tokens("valid")
    analysis, stages = config.analyze, []
    if analysis.examples:
        stages.append(
            Stage(
                "examples",
                functools.partial(analyzing.find_run_examples, config, layout),
                _settings(
                    config,
                    *_READING,
                    "analyze.examples",
                    *(f"record.{key}" for key in ("threshold", "gated_at", "ignore")),
                ),
                [model, valid],
                [layout.examples],
            )
        )
    if config.ablate is not None:
        translation = ("translate",) if config.ablate.metric == "chrf" else ()
        stages.append(
            Stage(
                "ablate",
                functools.partial(analyzing.ablate_run, config, layout),
                _settings(
                    config,
                    "pivot",
                    "data.too_long",
                    "ablate",
                    "analyze.encoder",
                    "analyze.decoder",
                    "sampling",
                    *translation,
                    "seed",
                ),
                [model, valid, layout.text, layout.counts, layout.masks],
                [layout.ablation],
            )
        )
    files = [*analysis.distances.values(), *analysis.against.values()]
    stages.append(
        Stage(
            "analyze",
            functools.partial(analyzing.analyze_run, config, layout),
            _settings(config, "name", "pivot", "analyze", "ablate", "seed"),
            [layout.masks, layout.counts, valid, model, *(path for stage in stages for path in stage.outputs), *files],
            [layout.figures, layout.analysis],
        )
    )
    return stages


def _plan_method(config: Config, layout: Layout, method: str) -> list[Stage]:
    settings = _settings(config, "pivot", *_READING, "continued", "sampling", "seed")
    settings |= {"method": config.methods[method]}
    kind = find_method(method, config.methods[method])
    inputs = [layout.model(PRETRAINED), layout.tokens("train"), layout.tokens("valid")]
    training = Stage(
        f"train.{method}",
        functools.partial(work.continue_training, config, layout, method),
        settings,
        [*inputs, *([layout.masks] if kind.uses_masks else []), *([layout.search(method)] if kind.searches else [])],
        [layout.model(method), layout.summary(method)],
        [layout.training(method)],
        parallel=True,
    )
    if not kind.searches:
        return [training]
    search = functools.partial(work.search, config, layout, method)
    return [Stage(f"search.{method}", search, settings, inputs, [layout.search(method)], parallel=True), training]


def _plan_translation(config: Config, layout: Layout, system: str) -> Stage:
    trained = system == PRETRAINED or system in config.methods
    return Stage(
        f"translate.{system}",
        functools.partial(translating.translate_test, config, layout, system),
        _settings(config, "pivot", "languages", "tasks", "zero_shot", "translate", "seed"),
        [*([layout.model(system)] if trained else [layout.model(PRETRAINED), layout.masks]), layout.text],
        [layout.translations(system)],
        parallel=True,
    )


def _plan_results(config: Config, layout: Layout) -> list[Stage]:
    systems = list_systems(config)
    neurons = [layout.masks, layout.analysis] if _needs_masks(config) else []
    return [
        Stage(
            "score",
            functools.partial(scoring.score, config, layout, systems),
            _settings(config, "pivot", "languages", "tasks", "zero_shot", "methods", "score", "seed"),
            [layout.text, *(layout.translations(system) for system in systems)],
            [layout.scores],
            [layout.scoring],
            parallel=True,
        ),
        Stage(
            "report",
            functools.partial(summary.write, config, layout),
            _settings(config, "name", "pivot", "zero_shot", "methods", "score", "report"),
            [layout.text, layout.scores, *neurons, *(layout.summary(name) for name in (PRETRAINED, *config.methods))],
            [layout.report],
        ),
    ]


def run(config: Config, *, until: str | None = None, force: bool = False, only: str | None = None) -> Layout:
    """Run a configuration's stages, leaving out those that are done.

    Args:
        config: the configuration.
        until: the name of the last stage to run; its group where it names one (`translate` for every
            `translate.*`). Everything before it that is not done runs too.
        force: do the stages again that were asked for: `until`'s, or all of them.
        only: with `until`, the member of its group to run (`fine_tune` of `train`).

    Returns:
        Where everything is.

    Raises:
        NeuronspecError: there is no such stage, or a stage fails.
    """
    layout = Layout(config.out)
    refuse_links(layout.out)
    stages = plan_stages(config, layout)
    asked = [stage for stage in stages if until is None or _is_asked(stage.name, until, only)]
    if not asked:
        wanted = until if only is None else f"{until}.{only}"
        names = [stage.name for stage in stages]
        raise NeuronspecError(f"no stage {wanted}{did_you_mean(str(wanted), names)}; this run has {', '.join(names)}")
    work.check_needs(config)
    wanted_stages = _with_what_they_need(stages, asked)
    _check_processes(config, wanted_stages)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    processes = _join(config)
    if processes is None or processes.is_main_process:
        write_text(layout.config, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    run_stages(wanted_stages, layout, [stage.name for stage in asked] if force else [], processes)
    return layout


def _join(config: Config) -> PartialState | None:
    """Join the processes that were launched together, where there are several."""
    if count_processes() == 1:
        return None
    return join_processes(config.device == "cpu")


def _check_processes(config: Config, stages: list[Stage]) -> None:
    """Refuse, before any work, a training whose batches cannot be shared by the processes that were launched.

    Raises:
        NeuronspecError: The number of batches of an update is no multiple of the number of processes.
    """
    launched = count_processes()
    for stage in stages:
        if stage.name.partition(".")[0] != "train" or all(path.exists() for path in stage.outputs):
            continue
        key = "train" if stage.name == "train" else "continued"
        section = config.train if stage.name == "train" else config.continued
        if section.updates and section.batches_per_update % launched:
            raise NeuronspecError(
                f"{key}.batches_per_update is {section.batches_per_update}: it must be a multiple of the {launched} "
                f"processes, such as {key}.batches_per_update={launched}"
            )


def _is_asked(name: str, until: str, only: str | None) -> bool:
    group, _, member = name.partition(".")
    return group == until and (member == only if only is not None else until != "train" or not member)


def _with_what_they_need(stages: list[Stage], asked: list[Stage]) -> list[Stage]:
    """Return the asked stages and, before them, those that make their inputs."""
    needed = {stage.name for stage in asked}
    inputs = {path for stage in asked for path in stage.inputs}
    for stage in reversed(stages):
        if stage.name in needed or inputs & set(stage.outputs):
            needed.add(stage.name)
            inputs |= set(stage.inputs)
    return [stage for stage in stages if stage.name in needed]


def _local_model(config: Config) -> list[Path]:
    """Return the directory of the pretrained model, where it is one of this machine."""
    pretrained = config.model.pretrained
    return [Path(pretrained)] if pretrained is not None and Path(pretrained).is_dir() else []


def _needs_masks(config: Config) -> bool:
    kinds = [find_method(name, options) for name, options in config.methods.items()]
    return any(kind.uses_masks for kind in kinds) or (not kinds and len(config.directions()) > 1)


def _settings(config: Config, *keys: str) -> dict[str, Any]:
    """Return the values of dotted keys, as JSON, without what does not change the result."""
    values = config.model_dump(mode="json")
    settings = {}
    for key in keys:
        value: Any = values
        for part in key.split("."):
            value = value[part]
        if isinstance(value, dict):
            value = {name: inner for name, inner in value.items() if not {name, f"{key}.{name}"} & _WITHOUT_EFFECT}
        settings[key] = value
    return settings
