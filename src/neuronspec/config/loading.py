"""Reading a recipe: YAML and `key=value` changes into a checked configuration, all problems named at once."""

from __future__ import annotations

import importlib.resources
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from neuronspec.config.plain_values import make_plain
from neuronspec.config.registered import find_section, find_unregistered
from neuronspec.config.schema import SEED, Ablate, Config, find_method, is_seed, own_options
from neuronspec.config.sections import Analysis, Corpus, Recording, Section, Selection, Translation
from neuronspec.config.shorthands import choose_methods, repeat_with_seeds
from neuronspec.config.sweeps import Sweeps, explain_sweeps, find_sweeps, list_points, name_point, show_value
from neuronspec.config.yaml_values import parse_yaml, read_yaml
from neuronspec.errors import NeuronspecError, did_you_mean, first_line
from neuronspec.languages import is_known, split_direction, suggest_language
from neuronspec.names import child

logger = logging.getLogger(__name__)

STORED_CONFIG = Path("stages", "config.yaml")  # below the directory of a run
_EXPLAINED = 20  # problems that a message explains
_SUGGESTED = 100  # unknown language codes that are compared with known ones
SWEEP_CONFIG = Path("sweep.yaml")  # below the directory of a sweep, which holds a run for each point

# Recipes are files of the package, found wherever it is installed.
_SHIPPED = Path(str(importlib.resources.files("neuronspec"))) / "recipes"


def load_config(
    source: Path | str,
    overrides: Iterable[str] = (),
    method_options: Mapping[str, type[Section]] | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    warns: bool = True,
) -> Config:
    """Read a configuration, apply `key=value` overrides, and check all of it at once.

    Args:
        source: A YAML file, the name of a shipped recipe (`demo`), or the directory of an earlier run.
        overrides: `dotted.key=value`; the value is read as YAML.
        changes: `dotted.key` -> value, after the overrides.
        method_options: Options class of every known method. Without them, the names of methods and of other registered
            things are trusted, as in a configuration that a run has stored.
        warns: Whether to warn of language codes that look mistyped.

    Returns:
        The configuration, with corpus paths absolute.

    Raises:
        NeuronspecError: If the file is missing or not YAML, a key has several values, or it has problems; all of them
            are named.
    """
    path = find_config(source)
    values = _read_values(path, source, overrides, changes or {})
    if several := _find_sweeps(values, method_options):
        _refuse_sweeps(several, Path(source))

    # Shorthands are written out, so that the schema need not know them.
    choose_methods(values)
    repeat_with_seeds(values)

    # All problems are collected, so that users fix them at once.
    problems = []
    config = None
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        problems += _explain(error, Config)

    # The schema cannot know what extensions register: these names are checked here.
    if method_options is not None:
        problems += _list_method_problems(values.get("methods"), method_options)
        problems += itertools.islice(find_unregistered(Config, values), _EXPLAINED)
    if problems or config is None:
        raise NeuronspecError(f"{path} does not fit:\n" + "\n".join(f"  - {problem}" for problem in problems))

    if warns:
        _warn_of_mistyped(config)

    # A shipped recipe has no corpora next to it: its paths are relative to where the command runs.
    folder = Path.cwd() if path.parent == _SHIPPED else path.parent
    return _resolve_paths(config, folder)


def _read_values(
    path: Path, source: Path | str, overrides: Iterable[str], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of a configuration file with all changes, before any check."""
    values = _parse_yaml(path)
    if path in (Path(source) / STORED_CONFIG, Path(source) / SWEEP_CONFIG):
        values["out"] = str(source)  # the directory may have been moved

    # Overrides in the order of the command line: a later one wins. Options of verbs come last.
    for override in overrides:
        apply_change(values, *_parse_override(override))
    for key, value in changes.items():
        apply_change(values, key, value)
    return values


def read_sweeps(
    source: Path | str,
    overrides: Iterable[str] = (),
    method_options: Mapping[str, type[Section]] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> tuple[Sweeps, dict[str, Any]]:
    """Return the keys of a configuration that have several values, and all values as they are written.

    The arguments are those of `load_config`, which refuses such a configuration: it is that of several runs.

    Raises:
        NeuronspecError: If the file is missing or not YAML.
    """
    values = _read_values(find_config(source), source, overrides, changes or {})
    return _find_sweeps(values, method_options), values


def _refuse_sweeps(sweeps: Sweeps, source: Path) -> NoReturn:
    """Say why a configuration with several values of a key is not that of a single run."""
    # The directory of a sweep has the runs already.
    if holds_sweep(source):
        first = child(source, name_point(list_points(sweeps)[0]))
        raise NeuronspecError(f"{source} holds the runs of a sweep: give the directory of one of them, such as {first}")
    raise NeuronspecError(explain_sweeps(sweeps))


def _find_sweeps(values: Mapping[str, Any], method_options: Mapping[str, type[Section]] | None) -> Sweeps:
    """Return the keys that have several values; of the methods, only those that are chosen count."""
    chosen = dict(values)
    choose_methods(chosen)
    return find_sweeps(chosen, method_options)


def _warn_of_mistyped(config: Config) -> None:
    """Say which codes look like mistyped ones: any code is allowed, so that nothing else would notice."""
    # Directions hold the codes of languages, tasks, pivot and zero-shot directions.
    tasks = config.tested_directions()
    levels = [code for members in config.score.levels.values() for code in members]
    codes = dict.fromkeys([*(side for task in tasks for side in split_direction(task)), *levels])

    # The comparison takes some milliseconds for each.
    unknown = (code for code in codes if not is_known(code))
    for code in itertools.islice(unknown, _SUGGESTED):
        if hint := suggest_language(code):
            logger.warning(f"nobody else knows the language code {code!r}{hint}; it is used as it is written")


class NeuronSections(Section):
    """The sections that can be set without the configuration of a run, where counts or masks are given instead."""

    record: Recording = Recording()
    select: Selection = Selection()
    analyze: Analysis = Analysis()
    ablate: Ablate = None
    translate: Translation = Translation()


def load_sections(overrides: Iterable[str], *allowed: str) -> NeuronSections:
    """Return the sections that overrides such as `select.k=0.9` set, without a configuration.

    Args:
        overrides: Changes, `section.key=value` each.
        allowed: Names of the sections that may be changed.

    Raises:
        NeuronspecError: If an override cannot be read, belongs to another section, or does not fit.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        apply_change(values, *_parse_override(override))

    # Sections of a run, such as train, would change nothing.
    others = [key for key in values if key not in allowed]
    if others:
        known = ", ".join(f"{name}.*" for name in allowed)
        hint = _suggest_section(NeuronSections, others[:1])
        raise NeuronspecError(f"without a configuration only {known} can be changed, not {', '.join(others)}{hint}")

    try:
        sections = NeuronSections.model_validate(values)
    except ValidationError as error:
        raise NeuronspecError("; ".join(_explain(error, NeuronSections))) from error
    if unknown := list(find_unregistered(NeuronSections, values)):
        raise NeuronspecError("; ".join(unknown))
    return sections


def holds_run(place: Path) -> bool:
    """Return whether a directory is the output of a run, whose configuration is in it."""
    return (place / STORED_CONFIG).is_file()


def holds_sweep(place: Path) -> bool:
    """Return whether a directory is the output of a sweep, which holds a run for each point."""
    return (place / SWEEP_CONFIG).is_file()


def names_config(source: str) -> bool:
    """Return whether a text names a configuration: a YAML file, there or not, the directory of a run, or a recipe.

    Example:
        >>> names_config("demo"), names_config("missing.yaml"), names_config("org/model")
        (True, True, False)
    """
    path = Path(source)
    is_yaml = path.suffix in (".yaml", ".yml") and not path.is_dir()
    is_recipe = path.parent == Path() and (_SHIPPED / f"{path.name}.yaml").is_file() and not path.exists()
    return is_yaml or is_recipe or holds_run(path) or holds_sweep(path)


def find_config(source: Path | str) -> Path:
    """Return the path of a configuration file, of a shipped recipe, or of that in the directory of a run or a sweep.

    Raises:
        NeuronspecError: If there is none.
    """
    # A file of that name comes first, then the directory of a run, then a recipe.
    path = Path(source)
    if path.is_file():
        return path
    if holds_run(path):
        return path / STORED_CONFIG
    if holds_sweep(path):
        return path / SWEEP_CONFIG

    # A name alone, with or without .yaml: a path that does not exist is a mistake.
    recipes = _list_recipes()
    if path.parent == Path() and path.name.removesuffix(".yaml") in recipes:
        return recipes[path.name.removesuffix(".yaml")]
    raise NeuronspecError(
        f"no configuration {str(source)!r}{_explain_no_config(path, list(recipes))}: "
        f"give a YAML file, the directory of a run, or one of the recipes {', '.join(recipes)}"
    )


def _explain_no_config(path: Path, recipes: Sequence[str]) -> str:
    """Return what is in the place of a configuration, or what may be meant by its name."""
    if (path / "config.json").is_file():
        return ", which is the directory of a model (option --model, or the key model.pretrained)"
    if path.is_dir():
        return f", which is a directory without a run in it; if it holds your text: neuronspec init {path} -o my.yaml"

    # Files and runs next to the place, and recipes
    folder = path.parent
    near = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [str(entry) for entry in near if entry.suffix in (".yaml", ".yml", ".json") or holds_run(entry)]
    hint = did_you_mean(str(path), [*names, *recipes])
    if not hint:  # a name without its ending
        hint = did_you_mean(f"{path}.yaml", names)
    return hint


def find_recipe(name: str) -> Path:
    """Return the path of a shipped recipe.

    Raises:
        NeuronspecError: If no recipe has this name.
    """
    recipes = _list_recipes()
    if name not in recipes:
        raise NeuronspecError(f"no recipe {name!r}{did_you_mean(name, recipes)}; there are {', '.join(recipes)}")
    return recipes[name]


def _list_recipes() -> dict[str, Path]:
    return {file.stem: file for file in sorted(_SHIPPED.glob("*.yaml"))}


def _parse_yaml(path: Path) -> dict[str, Any]:
    values = read_yaml(path, "a configuration")

    # An empty file, a list or a single word
    if not isinstance(values, dict):
        raise NeuronspecError(f"{path} holds no configuration: expected 'key: value' lines")
    return values


def _parse_override(override: str) -> tuple[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise NeuronspecError(f"cannot read the override {override!r}: expected key=value, as in train.updates=500")
    if key == "out":
        return key, text  # a path is text, whatever YAML would make of it

    return key, parse_yaml(text, f"cannot read the value of the override {override!r}")


def apply_change(values: dict[str, Any], key: str, value: Any) -> None:
    """Put a value into nested sections, in place.

    Args:
        values: Values of a configuration.
        key: Dotted key.
        value: Its new value.

    Raises:
        NeuronspecError: If a part of the key is no section.
    """
    value = make_plain(value)

    # Walks down from section to section; those that are missing are made on the way.
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if inner is None or isinstance(inner, bool):  # an option of a section that was only switched on or off
            inner = values[parent] = {}
        if not isinstance(inner, dict):
            raise NeuronspecError(f"cannot read the override of {key}: {parent!r} is not a section")
        values = inner

    if value is True and isinstance(values.get(last), dict):  # a section is switched on: it keeps its options
        return
    values[last] = value


def _explain(error: ValidationError, section: type[Section], prefix: str = "") -> list[str]:
    problems = error.errors(include_url=False)
    explained = [_explain_one(dict(problem), section, prefix) for problem in problems[:_EXPLAINED]]
    more = len(problems) - _EXPLAINED
    return [*explained, f"and {more:,} more problems"] if more > 0 else explained


def _explain_one(problem: dict[str, Any], section: type[Section], prefix: str) -> str:
    # `loc` is the path of keys and list indices to the value.
    where = [str(part) for part in problem["loc"]]
    key = prefix + ".".join(where)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(section, where[:-1])
        hint = did_you_mean(where[-1], known) or _suggest_section(section, where)
        return f"unknown key {key}{hint}; known here: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"{key} is missing"

    # Errors of our own checks come with a prefix of pydantic.
    message: str = problem["msg"].removeprefix("Value error, ")

    # The section as a whole: two of its keys do not fit together, or it is no section.
    if not where:
        return message if not prefix else f"{prefix.rstrip('.')}: expected a section, not {problem['input']!r}"

    # A short value is quoted; a whole section would hide the message.
    value = problem["input"]
    if isinstance(value, dict | list):
        return f"{key}: {message}"
    hint = f"; write {key}=[{value}]" if problem["type"] in ("list_type", "tuple_type") else ""
    return f"{key}: {message[0].lower()}{message[1:]}, not {value!r}{hint}"


def _suggest_section(section: type[Section], where: list[str]) -> str:
    """Return a hint with the sections that have a key which was given outside of any section."""
    if len(where) > 1:
        return ""
    inner = {name: find_section(field) for name, field in section.model_fields.items()}
    found = [f"{name}.{where[0]}" for name, one in inner.items() if one is not None and where[0] in one.model_fields]
    return f" (did you mean {' or '.join(map(repr, found))}?)" if found else ""


def _known_keys(section: type[Section], where: list[str]) -> list[str]:
    # Walks down to the section that holds the unknown key; indices of lists are passed over.
    for part in where:
        if part in section.model_fields:
            annotation = section.model_fields[part].annotation
            # The section may be inside of a list, or optional.
            arguments = [annotation, *getattr(annotation, "__args__", ())]
            section = next((a for a in arguments if isinstance(a, type) and issubclass(a, Section)), section)
    return list(section.model_fields)


def _list_method_problems(methods: Any, method_options: Mapping[str, type[Section]]) -> list[str]:
    problems: list[str] = []
    for name, options in methods.items() if isinstance(methods, dict) else ():
        problems += _method_problems(name, options, method_options)
        if len(problems) > _EXPLAINED:
            return [*problems[:_EXPLAINED], "and more problems"]
    return problems


def _method_problems(name: Any, options: Any, method_options: Mapping[str, type[Section]]) -> list[str]:
    options = {} if options is None else options

    # A system is named by its method, or says with `method` which one it is.
    kind = find_method(name, options)
    if not isinstance(kind, str):
        return [f"methods.{name}.method: expected the name of a method, not {show_value(kind)}"]
    if kind not in method_options:
        return [f"unknown method {kind!r}{did_you_mean(kind, method_options)}; known: {', '.join(method_options)}"]

    # `method` and `seed` are not options of the method itself.
    own = own_options(options) if isinstance(options, dict) else options
    seed = options.get(SEED, 0) if isinstance(options, dict) else 0
    if not is_seed(seed):
        return [f"methods.{name}.seed: must be a whole number from 0 on, not {seed!r}"]

    try:
        method_options[kind].model_validate(own)
    except ValidationError as error:
        return _explain(error, method_options[kind], prefix=f"methods.{name}.")
    return []


def _expand_home(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~name of a user whom this machine does not know
        raise NeuronspecError(f"cannot read the path {str(path)!r}: {first_line(error)}") from error


def _resolve_paths(config: Config, folder: Path) -> Config:
    def resolve(corpora: list[Corpus]) -> list[Corpus]:
        return [
            corpus
            if corpus.path.startswith("hub:")
            else corpus.model_copy(update={"path": str((folder / _expand_home(corpus.path)).absolute())})
            for corpus in corpora
        ]

    # Sections are frozen: changed copies take their places.
    data = config.data.model_copy(
        update={part: resolve(getattr(config.data, part)) for part in ("train", "valid", "test")}
    )

    # A directory or a name on the hub: only `~` shows that it is a path.
    pretrained = config.model.pretrained
    if pretrained is not None and pretrained.startswith("~"):
        pretrained = str(_expand_home(pretrained))
    model = config.model.model_copy(update={"pretrained": pretrained})
    return config.model_copy(update={"data": data, "model": model, "out": _expand_home(config.out)})
