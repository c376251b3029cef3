from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronspec.analysis.token_counts import count_tokens

TASKS = ("de-en", "nl-en", "ru-en")
Text = list[tuple[int, list[int], list[int]]]  # task, source, target

texts: st.SearchStrategy[Text] = st.lists(
    st.tuples(
        st.integers(0, 1),  # the last task has no text
        st.lists(st.integers(3, 9), min_size=1, max_size=6),
        st.lists(st.integers(3, 9), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=8,
)


def pad(rows: list[list[int]], left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids padded with a token that also stands in texts, and their mask."""
    size = max(map(len, rows))
    ids, mask = torch.full((len(rows), size), 3), torch.zeros((len(rows), size), dtype=torch.int64)
    for row, tokens in enumerate(rows):
        place = slice(size - len(tokens), size) if left else slice(0, len(tokens))
        ids[row, place], mask[row, place] = torch.tensor(tokens), 1
    return ids, mask


@settings(max_examples=40)
@given(texts, st.integers(1, 4), st.booleans(), st.sets(st.integers(3, 9), max_size=2))
def test_every_real_token_counts_once_on_the_side_that_reads_it(
    text: Text, rows: int, left: bool, ignore: set[int]
) -> None:
    batches = []
    for start in range(0, len(text), rows):
        part = text[start : start + rows]
        batch: dict[str, object] = {"tasks": [TASKS[number] for number, _, _ in part]}
        for side, name in ((1, ""), (2, "decoder_")):
            ids, mask = pad([row[side] for row in part], left)  # type: ignore[misc]
            batch |= {f"{name}input_ids": ids, f"{name}attention_mask": mask}
        batches.append(batch)
    found = count_tokens(batches, TASKS, [*ignore])
    assert list(found) == ["encoder", "decoder"]
    for side, stack in ((1, "encoder"), (2, "decoder")):
        counters = [Counter[int]() for _ in TASKS]
        for row in text:
            counters[row[0]].update(row[side])  # type: ignore[arg-type]
        seen = sorted({token for counter in counters for token in counter} - ignore)
        assert found[stack].shape == (3, len(seen))
        assert found[stack].tolist() == [[counter[token] for token in seen] for counter in counters]


def test_a_model_that_reads_one_text_has_a_decoder_alone() -> None:
    ids, mask = pad([[4, 5], [5]], left=True)
    found = count_tokens([{"input_ids": ids, "attention_mask": mask, "tasks": ["de", "nl"]}], ["nl", "de"])
    assert {stack: table.tolist() for stack, table in found.items()} == {"decoder": [[0, 1], [1, 1]]}


def test_no_text_has_no_tokens() -> None:
    assert count_tokens([], TASKS) == {}


def test_a_task_that_is_not_wanted_is_no_silent_loss() -> None:
    ids, mask = pad([[4]], left=False)
    with pytest.raises(KeyError, match="ja-en"):
        count_tokens([{"input_ids": ids, "attention_mask": mask, "tasks": ["ja-en"]}], TASKS)
