"""Execute the notebooks and save them with their outputs: `python -m docs.builder.execute`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
FORGET = "%reset -f"


def execute_all() -> Iterator[tuple[Path, nbformat.NotebookNode]]:
    """Yield every notebook with the outputs that it has today.

    One process executes them all, one after the other, because importing libraries takes most of the time.
    """
    paths = sorted(FOLDER.glob("*.ipynb"))
    notebooks = [nbformat.read(path, as_version=4) for path in paths]

    # All cells in one notebook; each notebook forgets the names of the one before it
    cells = [cell for notebook in notebooks for cell in [nbformat.v4.new_code_cell(FORGET), *notebook.cells]]
    for cell in cells:
        cell.metadata.clear()
    together = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(together, timeout=300, kernel_name="python3", record_timing=False).execute()

    # Cells were changed in place; numbers start from 1 in each notebook, and notes of libraries are left out.
    for path, notebook in zip(paths, notebooks, strict=True):
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for number, cell in enumerate(code, 1):
            cell.execution_count = number
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        yield path, notebook


if __name__ == "__main__":
    for file, executed in execute_all():
        nbformat.write(executed, file)
