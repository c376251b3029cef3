"""The YAML configuration of a run, checked all at once before any work."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from neuronspec.config.codes import Direction, LanguageCode, check_directions_once, check_languages_once
from neuronspec.config.sections import (
    AblationOptions,
    Analysis,
    Data,
    Model,
    Preparation,
    Recording,
    Reporting,
    Sampling,
    Scoring,
    Section,
    Selection,
    Training,
    Translation,
)
from neuronspec.errors import NeuronspecError
from neuronspec.languages import Spellings, find_sides, join_direction, same_language, split_direction
from neuronspec.reading_limits import VALUES

PIVOT = "en"
METHOD, SEED = "method", "seed"  # options of every method: which one a name stands for, and a seed of its own
MAX_SEED = 1 << 63  # the first number that is no seed


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a method that are not of every method."""
    return {key: value for key, value in options.items() if key not in (METHOD, SEED)}


def find_method(name: Any, options: Any) -> Any:
    """Return the method of a system: the one that its options name, or else that of its own name.

    Both are as they were given, so that they may be anything before the checks.
    """
    return options.get(METHOD, name) if isinstance(options, Mapping) else name


def is_seed(value: Any) -> bool:
    """Return whether a value can be a seed: a whole number from 0 on that fits into 63 bits."""
    # Booleans are integers in Python, but no seeds.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_SEED


def spell_alike(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a configuration with one spelling for each language.

    The languages or tasks that are trained decide: with `tasks: [eng_Latn-deu_Latn]` the pivot `en` is `eng_Latn`.
    What is no code or direction is left for the checks of its own key.
    """
    # Runs before the checks: values may still have any type.
    trained = [*_list_texts(values.get("tasks")), *_list_texts(values.get("languages"))]
    codes = [code for name in trained for code in find_sides(name) or (name,)]
    pivot = _spell(values.get("pivot", PIVOT), Spellings(codes))
    spellings = Spellings([*codes, *_list_texts([pivot])])

    # Unseen directions are joined from the codes of trained ones, and must be spelled like them.
    spelled = {**values, "pivot": pivot}
    if isinstance(values.get("zero_shot"), list):
        spelled["zero_shot"] = [_spell_direction(task, spellings) for task in values["zero_shot"]]
    return spelled


def _list_texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _spell(code: Any, spellings: Spellings) -> Any:
    try:
        return spellings.find(code) if isinstance(code, str) else code
    except NeuronspecError:
        return code


def _spell_direction(task: Any, spellings: Spellings) -> Any:
    if not isinstance(task, str):
        return task
    try:
        return join_direction(*(_spell(code, spellings) for code in split_direction(task)))
    except NeuronspecError:
        return task


def _on_or_off(ablate: Any) -> Any:
    """Read `ablate: true` as the section with its defaults, and `ablate: false` as none."""
    if isinstance(ablate, bool):
        return {} if ablate else None
    return ablate


Ablate = Annotated[AblationOptions | None, BeforeValidator(_on_or_off)]


def _fill_in(methods: Mapping[Any, Any]) -> dict[Any, Any]:
    return {name: {} if options is None else options for name, options in methods.items()}


class Config(Section):
    """A whole run, from corpora to report."""

    name: str = "run"
    """The run's name, for titles."""
    out: Path = Path("runs/run")
    """The directory of everything that the run makes. Relative to where the command runs."""
    seed: int = Field(default=1, ge=0, lt=MAX_SEED)
    """Everything random follows from it."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of the tensor library; null: its own choice."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    pivot: LanguageCode = PIVOT
    """The language that the others are paired with: any [code](concepts.md)."""
    languages: Annotated[list[LanguageCode], AfterValidator(check_languages_once)] = Field(default=[])
    """The other languages, in any spelling; each gives the tasks pivot-x and x-pivot."""
    tasks: Annotated[list[Direction], AfterValidator(check_directions_once)] = Field(default=[])
    """The translation directions themselves, `src-tgt`, where `languages` does not say it."""
    zero_shot: Annotated[list[Direction], AfterValidator(check_directions_once)] | Literal["all"] = Field(default=[])
    """Directions to test without training them, `src-tgt`, or `all` between two of the languages: encoded with the
    neurons of src-pivot, decoded with those of pivot-tgt."""
    data: Data
    prepare: Preparation = Preparation()
    sampling: Sampling = Sampling()
    model: Model
    train: Training = Training()
    """Training of the model that is then specialized. Defaults to 0 updates with `model.pretrained`."""
    record: Recording = Recording()
    select: Selection = Selection()
    analyze: Analysis = Analysis()
    ablate: Ablate = None
    """Switching off each language's own neurons, and the other languages', to see what its text loses: `true` or
    `false`, or the options below."""
    continued: Training = Training()
    """The continued training, the same for every method: optimizer and schedule start anew."""
    methods: dict[str, dict[str, Any]] = Field(default={})
    """The methods to compare, each with its options. To compare several variants of one method, give each a name of its
    own that says which method it is: `{ours_enc: {method: neuron_specialization, stacks: encoder}}`. `seed` gives a
    training a seed of its own; `seed: [1, 2, 3]` at the top trains every method once with each seed, from one
    pretrained model."""
    translate: Translation = Translation()
    score: Scoring = Scoring()
    report: Reporting = Reporting()

    @model_validator(mode="before")
    @classmethod
    def _pretrained_as_it_is(cls, values: Any) -> Any:
        # A pretrained model is not trained further before its neurons are recorded, unless asked for.
        if isinstance(values, dict) and isinstance(values.get("model"), dict) and values["model"].get("pretrained"):
            given = values.get("train")
            return values | {"train": {"updates": 0} | (given if isinstance(given, dict) else {})}
        return values

    @model_validator(mode="before")
    @classmethod
    def _spell_as_trained(cls, values: Any) -> Any:
        """Spell the pivot and the unseen directions as the languages and tasks of the run are spelled."""
        return spell_alike(values) if isinstance(values, dict) else values

    @field_validator("out", mode="before")
    @classmethod
    def _named(cls, out: Any) -> Any:
        # An empty path is the current directory, which a run would fill.
        if out == "":
            raise ValueError("out: expected the name of a directory, as in out=runs/mine")
        return out

    @field_validator("methods")
    @classmethod
    def _names_of_directories(cls, methods: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        # Systems name directories and stages; two names belong to systems of every run.
        for name in methods:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or name in ("pretrained", "source"):
                raise ValueError(f"methods: {name!r} cannot name a system: use letters, digits, _, - and .")
        return methods

    @field_validator("methods", mode="before")
    @classmethod
    def _no_options(cls, methods: Any) -> Any:
        # A method without options is `fine_tune:` in YAML, which is null.
        return _fill_in(methods) if isinstance(methods, dict) else methods

    @model_validator(mode="after")
    def _train_new_directions_alone(self) -> Config:
        # Training all weights would change the directions that must stay.
        if self.model.extend is not None and self.train.updates:
            raise ValueError("train.updates: with model.extend, training is for the methods: leave it at 0")
        return self

    @model_validator(mode="after")
    def _some_tasks(self) -> Config:
        # Directions are given by languages or one by one.
        if bool(self.languages) == bool(self.tasks):
            raise ValueError("give exactly one of languages and tasks")

        # The pivot among the others would be translated into itself.
        for language in self.languages:
            if same_language(language, self.pivot):
                raise ValueError(f"languages: {language!r} is the pivot; name the other languages only")
        return self

    @model_validator(mode="after")
    def _zero_shot_of_trained_tasks(self) -> Config:
        # A zero-shot direction takes its source side and its target side from two trained ones.
        trained = set(self.directions())
        for task in self.zero_shot if self.zero_shot != "all" else ():
            source, target = split_direction(task)
            needed = [join_direction(source, self.pivot), join_direction(self.pivot, target)]
            if task in trained or not {*needed} <= trained:
                raise ValueError(f"zero_shot: {task} must not be trained itself, but {' and '.join(needed)} must be")

        # All directions between thousands of languages are more than anybody can test.
        if self.zero_shot == "all" and (count := len(trained) ** 2 // 4) > VALUES.largest:
            raise ValueError(
                f"zero_shot: all are about {count:,} directions, at most {VALUES.largest:,} are tested; name them"
            )
        return self

    @model_validator(mode="after")
    def _one_origin_of_each_part(self) -> Config:
        # Validation and test text come from files of their own or from the training text.
        for part, share in (("valid", self.data.hold_out.valid), ("test", self.data.hold_out.test)):
            given = getattr(self.data, part)
            some_pairs_only = bool(given) and all(corpus.languages for corpus in given)
            if bool(given) == bool(share) and not (share and some_pairs_only):
                raise ValueError(f"give exactly one of data.{part} and data.hold_out.{part}")
        return self

    def directions(self) -> list[str]:
        """Return every task of the run: pivot-x for all languages, then x-pivot."""
        return self.tasks or [
            *(join_direction(self.pivot, language) for language in self.languages),
            *(join_direction(language, self.pivot) for language in self.languages),
        ]

    @property
    def trains(self) -> bool:
        """Whether any model of the run is trained."""
        return self.train.updates > 0 or bool(self.methods)

    def zero_shot_directions(self) -> list[str]:
        """Return the directions that are tested without having been trained."""
        if self.zero_shot != "all":
            return list(self.zero_shot)

        # `all`: from every language that is translated into the pivot to every one translated from it
        trained = set(self.directions())
        sides = [split_direction(task) for task in self.directions()]
        sources = [source for source, target in sides if target == self.pivot]
        targets = [target for source, target in sides if source == self.pivot]

        directions = []
        for source, target in itertools.product(sources, targets):
            task = join_direction(source, target) if source != target else ""
            if task and task not in trained:
                directions.append(task)
        return directions

    def tested_directions(self) -> list[str]:
        """Return every direction that is translated and scored: the trained ones, then the zero-shot ones."""
        return [*self.directions(), *self.zero_shot_directions()]
