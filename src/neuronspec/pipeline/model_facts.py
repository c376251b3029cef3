"""The facts about a trained model of a run that its card tells."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from neuronspec.artifacts.cards import escape_code, escape_text, quote_python
from neuronspec.config.schema import own_options
from neuronspec.config.sections import Training, Translation
from neuronspec.data.texts import Texts
from neuronspec.evaluation.results import Results
from neuronspec.files import read_json
from neuronspec.languages import split_direction
from neuronspec.methods.add_language.proof import read_proof
from neuronspec.methods.saved import find_saved
from neuronspec.models.codec import TextCodec
from neuronspec.models.directories import GENERATION_FILE, is_built_here
from neuronspec.models.loading import load_configuration, load_tokenizer
from neuronspec.models.plain_use import find_plain_use
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.pipeline.content_hashes import name_path
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.records import read_record
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.systems import title_system
from neuronspec.report.model_card import DirectionScores, ModelCard, TrainingFacts
from neuronspec.report.model_usage import MissingPart, ModelUsage
from neuronspec.training.method import Method
from neuronspec.version import __version__


def collect_facts(run: Run, system: str, results: Results | None) -> ModelCard:
    """Return what the card of a trained model says.

    Nothing in it depends on the machine or the time: the same run makes the same directory anywhere.

    Args:
        run: The run, whose text is prepared.
        system: System whose model is there.
        results: Results of the run; None if the model was not scored.
    """
    config, directory = run.config, run.layout.model(system)
    codec = TextCodec(load_tokenizer(directory), load_configuration(directory))
    corpora = [*config.data.train, *config.data.valid, *config.data.test]
    own = None if results is None else results.select(system)

    return ModelCard(
        title=f"{config.name}: {title_system(system)}",
        about=_describe_origin(run, system),
        base_model=_find_base(run),
        tags=_list_tags(codec, run.tested_directions),
        directions=config.directions(),
        unseen=run.tested_zero_shot,
        # Without folders, which may say more about a machine than its user wants to publish.
        corpora=list(dict.fromkeys(Path(corpus.path).name for corpus in corpora)),
        sizes=Texts.load(run.layout.text).sizes,
        text_hash=_read_text_hash(run),
        trainings=_list_trainings(run, system),
        scores=[] if own is None else _list_scores(own),
        signatures=[] if own is None else own.signatures,
        usage=_find_usage(run, codec, directory),
        version=__version__,
        addition=read_proof(directory),
    )


def _describe_origin(run: Run, system: str) -> list[str]:
    """Return sentences about what a model is and where it comes from, in Markdown."""
    wanted, summary = run.config.model, read_json(run.layout.summary(system))
    directions = run.config.directions()
    languages = {side for task in directions for side in split_direction(task)}

    if wanted.pretrained is None:
        origin = f"built from the preset {escape_code(str(wanted.preset))} of neuronspec"
    else:
        origin = f"from the pretrained model {escape_code(_name_place(wanted.pretrained))}"
    sentences = [
        f"A translation model of {summary['parameters']:,} parameters for {len(directions)} "
        f"direction{'s' * (len(directions) != 1)} between {len(languages)} languages, {origin}."
    ]

    # What comes after the model that all methods continue from
    if system != PRETRAINED:
        kind, options = run.find_method(system), own_options(run.config.methods[system])
        chosen = f" with {escape_code(json.dumps(options, ensure_ascii=False))}" if options else ""
        sentences.append(
            f"Its training was continued with the method {escape_code(kind.name)}{chosen}: "
            f"{escape_text(_first_sentence(kind))}"
        )
    return sentences


def _first_sentence(kind: type[Method]) -> str:
    """Return the first line of the description of a method."""
    return (inspect.getdoc(kind) or kind.name).splitlines()[0]


def _find_base(run: Run) -> str:
    """Return the name on the hub of the pretrained model; empty if it has none."""
    pretrained = run.config.model.pretrained
    return "" if pretrained is None or Path(pretrained).exists() else pretrained


def _name_place(place: str) -> str:
    """Return the name of a model on the hub, or of a directory with as few of its folders as say something."""
    path = Path(place)
    if not path.exists():
        return place

    # Every model of a run is in a folder `model`, below that of its system.
    path = path.resolve()
    return f"{path.parent.name}/{path.name}" if path.name == "model" else path.name


def _list_tags(codec: TextCodec, tasks: Sequence[str]) -> dict[str, str]:
    """Return the tag of each language of some tasks, by its code; empty for a language without one."""
    tags: dict[str, str] = {}
    for task in tasks:
        for language, number in codec.label_tags(task).items():
            known = tags.setdefault(language, "")
            if number is not None and not known:
                tags[language] = codec.tokenizer.convert_ids_to_tokens(number)
    return tags


def _read_text_hash(run: Run) -> str:
    """Return the hash of the prepared text as the record of its stage has it; empty if there is none."""
    record = read_record(run.layout.record("prepare"))
    outputs = (record or {}).get("outputs") or {}
    return str(outputs.get(name_path(run.layout.text, run.layout), {}).get("hash", ""))


def _list_trainings(run: Run, system: str) -> list[TrainingFacts]:
    """Return the trainings that a model went through in this run."""
    stages = [(PRETRAINED, run.config.train)]
    if system != PRETRAINED:
        stages.append((system, run.config.continued))
    return [_describe_training(run, name, settings) for name, settings in stages if settings.updates]


def _describe_training(run: Run, system: str, settings: Training) -> TrainingFacts:
    summary: Mapping[str, Any] = read_json(run.layout.summary(system))
    published = summary["best_update"] if settings.select == "best" else summary["update"]
    return TrainingFacts(
        name=title_system(system),
        updates=summary["update"],
        published=published,
        batch=run.config.sampling.tokens_per_batch * settings.batches_per_update,
        learning_rate=settings.learning_rate,
        seed=run.seed(system),
    )


def _list_scores(results: Results) -> list[DirectionScores]:
    """Return the scores of a single system, direction by direction."""
    rows = []
    for task in results.tasks:
        scores = [score for score in results.scores if score.task == task]
        rows.append(
            DirectionScores(
                task=task,
                zero_shot=scores[0].zero_shot,
                sentences=scores[0].sentences,
                scores={score.metric: score.score for score in scores},
            )
        )
    return rows


def _find_usage(run: Run, codec: TextCodec, directory: Path) -> ModelUsage:
    """Return how a model is used, with the first direction as the example."""
    task = run.config.directions()[0]
    return ModelUsage(
        task=task,
        plain=find_plain_use(codec, task),
        part=_find_missing_part(directory, task),
        # A pretrained model decodes in its own way unless it is asked for another one.
        search={} if is_built_here(directory) else _list_arguments(run.config.translate),
        beams=run.config.translate.beams,
        forced=_find_forced(codec, directory, run.tested_directions),
        has_own_embeddings=getattr(codec.config, "embeddings", None) == "separate",
        source_prefix="" if codec.source_prefix is None else json.dumps(codec.source_prefix, ensure_ascii=False),
    )


def _list_arguments(options: Translation) -> dict[str, object]:
    """Return the arguments of `generate` with which a run translates."""
    arguments: dict[str, object] = {
        "num_beams": options.beams,
        "max_new_tokens": options.max_tokens,
        "do_sample": False,
    }
    if options.beams > 1:
        arguments["length_penalty"] = options.length_penalty
        if options.early_stopping is not None:
            arguments["early_stopping"] = options.early_stopping
    return arguments


def _find_forced(codec: TextCodec, directory: Path, tasks: Sequence[str]) -> Literal["nothing", "target", "else"]:
    """Return what the generation configuration of a model forces."""
    path = directory / GENERATION_FILE
    forced = read_json(path).get("forced_bos_token_id") if path.is_file() else None
    if forced is None:
        return "nothing"

    # The tag of the target, if that is the same for all directions
    tags = {codec.format(task).decoding_start[-1] for task in tasks}
    return "target" if tags == {forced} else "else"


def _find_missing_part(directory: Path, task: str) -> MissingPart | None:
    """Return what a method left next to a model, which plain transformers does not load."""
    method = find_saved(directory)
    if method is None:
        return None
    if method.artifact == MASKS_FILE:
        words = ["neuronspec", "export", ".", "--task", task, "--text", f"{task}=PAIRS.tsv", "--out", "ELSEWHERE"]
        return MissingPart(file=method.artifact, command=shlex.join(words))
    return MissingPart(file=method.artifact, code=method.plain_export.replace("{task}", quote_python(task)))
