"""Shorthands at the top of a configuration, `method: [a, b]` and `seed: [1, 2]`, written out as methods."""

from __future__ import annotations

from typing import Any

from neuronspec.config.schema import METHOD, SEED, is_seed
from neuronspec.config.sweeps import show_value
from neuronspec.errors import NeuronspecError

MAX_TRAININGS = 10_000  # systems of a run


def choose_methods(values: dict[str, Any]) -> None:
    """Apply `method: [a, b]`: train these methods alone, with the options that `methods` gives them.

    Raises:
        NeuronspecError: If something other than names is given.
    """
    methods = values.get("methods")
    methods = {} if methods is None else methods
    if METHOD not in values or not isinstance(methods, dict):
        return

    # At the top, `method` only chooses; it is no key of the schema.
    wanted = values.pop(METHOD)
    names = wanted if isinstance(wanted, list) else [wanted]
    if not all(isinstance(name, str) for name in names):
        raise NeuronspecError(
            f"{METHOD}: expected names of methods, as in {METHOD}=[fine_tune,adapters], not {show_value(wanted)[:200]}"
        )
    values["methods"] = {name: methods.get(name) for name in names}


def repeat_with_seeds(values: dict[str, Any]) -> None:
    """Apply `seed: [1, 2, 3]`: train each method once with each seed.

    The first seed is the run's, under which the model is pretrained. A method with another seed is a system of its own,
    `fine_tune.seed2`.

    Raises:
        NeuronspecError: If something other than seeds is in the list.
    """
    seeds, methods = values.get(SEED), values.get("methods")
    methods = {} if methods is None else methods
    if not isinstance(seeds, list) or not seeds or not isinstance(methods, dict):
        return
    if not all(map(is_seed, seeds)):
        raise NeuronspecError(
            f"{SEED}: expected whole numbers from 0 on, as in {SEED}=[1,2], not {show_value(seeds)[:200]}; a list of "
            f"seeds is no sweep: it trains every method once with each seed"
        )

    if len(seeds) * len(methods) > MAX_TRAININGS:
        count = len(seeds) * len(methods)
        raise NeuronspecError(f"{SEED} and methods make {count:,} trainings, at most {MAX_TRAININGS:,} are made")

    # The run keeps the first seed.
    values[SEED] = first = seeds[0]
    repeated = {}
    for name, options in methods.items():
        # A seed that is given twice would be the same training again.
        for seed in dict.fromkeys(seeds):
            if seed == first or not (options is None or isinstance(options, dict)):
                repeated[name] = options
            else:
                repeated[f"{name}.seed{seed}"] = {METHOD: name, **(options or {}), SEED: seed}

    values["methods"] = repeated
