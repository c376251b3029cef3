"""Running the code of a model's card in a process of its own, in which this package cannot be imported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# First of all: whoever imports the package in this process fails.
BLOCKED = "import json, sys; sys.modules['neuronspec'] = None"


def find_code(card: str) -> list[str]:
    """Return the pieces of Python in a card."""
    return re.findall(r"^```python\n(.*?)^```", card, re.S | re.M)


def translate_plainly(directory: Path, codes: Sequence[str], sentences: Sequence[str]) -> list[list[str]]:
    """Run pieces of a card's code in the directory of its model, with other sentences, and return what each prints."""
    # All in one process: transformers takes a while to import.
    programs = [BLOCKED]
    for code in codes:
        program, replaced = re.subn(r"(?m)^sentences = .*$", "sentences = json.loads(sys.argv[1])", code)
        assert replaced == 1
        program, replaced = re.subn(r"(?m)^print\((.*)\)$", r"print(json.dumps(\1))", program)
        assert replaced == 1
        programs.append(program)

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(programs), json.dumps(list(sentences))],
        cwd=directory,
        env=environment | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    # White space around a translation says nothing; this package drops it.
    return [[str(line).strip() for line in json.loads(printed)] for printed in done.stdout.splitlines()]
