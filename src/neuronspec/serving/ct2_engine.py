"""Exports for CTranslate2, one for each direction, that a limit of memory keeps in memory or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuronspec.data.normalization import is_empty
from neuronspec.errors import NeuronspecError
from neuronspec.exports.ct2_usage import translate_alone
from neuronspec.languages import match_direction
from neuronspec.libraries import find_library
from neuronspec.models.escaping import escape_special_tokens
from neuronspec.models.written_text import decode_text
from neuronspec.serving.ct2_exports import CT2Export, find_exports
from neuronspec.serving.engine import NotOfferedError, Sentence
from neuronspec.serving.loaded_models import LoadedModels
from neuronspec.serving.rows import choose_longest, group_rows


class CT2Engine:
    """Translates with exports of `neuronspec export --format ct2`, as the program on their cards does.

    A direction may have an export with masks and one of the dense model, for rows without masks.

    Args:
        places: Exports, and directories whose folders are exports.
        tasks: Directions to offer; by default those of all exports.
        memory_limit: Largest number of bytes of all weights in memory; None for no limit.
        threads: Number of CPU threads; 0 lets CTranslate2 decide.

    Raises:
        NeuronspecError: If CTranslate2 is not installed, there are no exports or none of a direction, one is damaged
            or larger than the limit, or two have the same direction and neurons.
    """

    def __init__(
        self,
        places: Sequence[Path],
        *,
        tasks: Sequence[str] = (),
        memory_limit: int | None = None,
        threads: int = 0,
    ) -> None:
        find_library("ctranslate2", "This engine", "ct2")
        exports = _choose_exports(find_exports(places), tasks)
        _check_limit(exports, memory_limit)

        self.tasks = tuple(dict.fromkeys(export.usage.task for export in exports))
        self._exports = {(export.usage.task, export.masked): export for export in exports}
        self._models = LoadedModels(memory_limit, threads)

    def translate(self, rows: Sequence[Sentence]) -> list[str]:
        """Return the translations, (n,), in the order of the rows.

        Args:
            rows: (n,) sentences with any mix of directions, masks and beam sizes.

        Raises:
            UnavailableError: If the export of a direction is missing or damaged.
            NotOfferedError: If there is no export without masks for a row.
            NeuronspecError: If a row cannot be translated.
        """
        # What no one can see needs no model.
        visible = [place for place, row in enumerate(rows) if not is_empty(row.text)]
        wanted = [rows[place] for place in visible]
        tokens = dict(zip(wanted, self.count_tokens(wanted), strict=True))

        # Rows of one length need no padding, which would change what a model in int8 says of a few of them.
        groups = group_rows(wanted, lambda row: (self._choose(row).directory, row.beams, tokens[row]))

        # Models in memory go first: loading others could push them out.
        order = sorted(groups.values(), key=lambda places: not self._models.is_loaded(self._choose(wanted[places[0]])))
        translations = [""] * len(rows)
        for places in order:
            for place, text in zip(places, self._translate_group([wanted[place] for place in places]), strict=True):
                translations[visible[place]] = text
        return translations

    def count_tokens(self, rows: Sequence[Sentence]) -> list[int]:
        """Return the number of source tokens of each row, (n,), without those that stand around the text.

        Raises:
            UnavailableError: If the export of a direction is missing or damaged.
        """
        numbers = [0] * len(rows)
        for places in group_rows(rows, lambda row: self._choose(row).directory).values():
            tokenizer = self._models.load_tokenizer(self._choose(rows[places[0]])).tokenizer
            texts = escape_special_tokens(tokenizer, [rows[place].text for place in places], reads_special=True)
            for place, ids in zip(places, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
                numbers[place] = len(ids)
        return numbers

    @property
    def base_tasks(self) -> tuple[str, ...]:
        """All directions whose rows can be translated with all neurons, too: those that have an export of each kind."""
        return tuple(task for task in self.tasks if {(task, True), (task, False)} <= self._exports.keys())

    def find_longest(self, task: str) -> int | None:
        """Return the largest number of source tokens of a row that is translated whole."""
        usages = [export.usage for (name, _), export in self._exports.items() if name == task]
        return min(choose_longest(usage.longest, usage.max_tokens) for usage in usages)

    def close(self) -> None:
        """Unload all models."""
        self._models.close()

    def _translate_group(self, rows: Sequence[Sentence]) -> list[str]:
        """Return the translations of rows that have an export, a beam size and a length in common."""
        model = self._models.load(self._choose(rows[0]))
        tokenizer = model.tokenizer

        # Text that looks like a tag would choose another language.
        texts = escape_special_tokens(tokenizer, [row.text for row in rows], reads_special=True)
        ids = translate_alone(model.export.usage, model.translator, tokenizer, texts, rows[0].beams)
        return decode_text(tokenizer, ids)

    def _choose(self, row: Sentence) -> CT2Export:
        """Return the export that translates a row.

        Raises:
            NotOfferedError: If there is none.
        """
        # Without masks of its own, a direction is the dense model's.
        found = self._exports.get((row.task, row.masked))
        if found is None and row.masked:
            found = self._exports.get((row.task, False))
        if found is None:
            raise NotOfferedError("this direction is translated with its masks only")
        return found


def _choose_exports(exports: Sequence[CT2Export], tasks: Sequence[str]) -> list[CT2Export]:
    """Return the exports of some directions, in any spelling; all of them if no direction is named."""
    known = [export.usage.task for export in exports]
    chosen = {task: match_direction(task, known) for task in tasks}
    missing = [task for task, found in chosen.items() if found is None]
    if missing:
        raise NeuronspecError(
            f"there is no export of {missing[0]}; there are exports of {', '.join(dict.fromkeys(known))}"
        )
    return [export for export in exports if not tasks or export.usage.task in chosen.values()]


def _check_limit(exports: Sequence[CT2Export], limit: int | None) -> None:
    """Refuse a limit that not even a single model fits into."""
    largest = max(exports, key=lambda export: export.bytes)
    if limit is not None and largest.bytes > limit:
        raise NeuronspecError(
            f"the memory limit of {limit / 2**20:.0f} MiB is less than {largest.directory} takes, "
            f"{largest.bytes / 2**20:.0f} MiB: raise it"
        )
