"""The page of a comparison, which `neuronspec compare --html` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neuronspec.cli.options import refuse_inside_run
from neuronspec.errors import NeuronspecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from neuronspec.comparison.study import Study
    from neuronspec.comparison.tables import Table


def check_page(page: Path, force: bool) -> None:
    """Refuse to replace a file that is no page of ours, or whose sentences belong to no page of ours.

    Args:
        page: Page to be written.
        force: Whether the user insists.

    Raises:
        NeuronspecError: If the place is taken.
    """
    from neuronspec.report.comparison_page import name_translations
    from neuronspec.report.page import is_report

    refuse_inside_run(page, "--html", force)
    if page.is_dir():
        raise NeuronspecError(f"{page} is a directory: name the page to write, such as {page / 'compare.html'}")

    # A page of ours is written again, with the sentences next to it.
    if force or (page.is_file() and is_report(page)):
        return
    for path in (page, name_translations(page)):
        if path.exists():
            raise NeuronspecError(
                f"{path} exists and is no page of a comparison: choose another --html, or give --force to replace it"
            )


def write_page(study: Study, tables: Mapping[str, Table], sets: Sequence[str], page: Path) -> None:
    """Write the page of a comparison.

    Args:
        study: Study of all systems.
        tables: Tables to show, by name.
        sets: Places of the results, of which the first run has the training text.
        page: Page to write.
    """
    from neuronspec.pipeline.collection import count_words
    from neuronspec.pipeline.systems import COPY
    from neuronspec.report.comparison_page import write_comparison
    from neuronspec.report.translations import list_pairs

    # Copying the source is a line in tables, and no translation to read.
    pairs = [pair for pair in list_pairs(study) if COPY not in pair]
    write_comparison(study, page, pairs=pairs, tables=tables, words=count_words(sets))
