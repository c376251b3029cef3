"""Counts of the tokens of the vocabulary in the text of each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def count_tokens(
    batches: Iterable[Mapping[str, Any]], tasks: Sequence[str], ignore: Sequence[int] = ()
) -> dict[str, NDArray[np.int64]]:
    """Count the tokens of each task's text, on the side that each stack reads.

    Args:
        batches: Batches as for `record_activations`, with names as tasks.
        tasks: Tasks of the rows of the result.
        ignore: Ids of tokens that do not count, such as tags.

    Returns:
        By stack, (tasks, tokens that occur anywhere); of a model that reads one text, under `decoder` alone.

    Example:
        >>> import torch
        >>> ones = torch.ones(1, 3, dtype=torch.int64)
        >>> batch = {"input_ids": torch.tensor([[7, 1, 7]]), "attention_mask": ones, "tasks": ["de"]}
        >>> count_tokens([batch], ["de", "nl"])["decoder"].tolist()
        [[1, 2], [0, 0]]
    """
    found: dict[str, dict[str, Counter[int]]] = {}
    for batch in batches:
        # An encoder-decoder reads two texts, any other model one
        sides = {"encoder": "", "decoder": "decoder_"} if "decoder_input_ids" in batch else {"decoder": ""}
        for stack, side in sides.items():
            counters = found.setdefault(stack, {task: Counter() for task in tasks})

            # Padding is no text
            real = batch[f"{side}attention_mask"].bool()
            for task, ids, there in zip(batch["tasks"], batch[f"{side}input_ids"], real, strict=True):
                counters[task].update(ids[there].tolist())
    return {stack: _tabulate(list(counters.values()), set(ignore)) for stack, counters in found.items()}


def _tabulate(counters: Sequence[Counter[int]], ignore: set[int]) -> NDArray[np.int64]:
    # A column for each token that occurs in some task's text, in the order of the ids
    ids = sorted(set().union(*counters) - ignore)
    return np.array([[counter[number] for number in ids] for counter in counters], dtype=np.int64)
