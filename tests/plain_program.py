"""Running the code of a model's card in a process of its own, in which this package cannot be imported."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from tests.processes import LIBRARIES, call

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

    done = call(["-c", "\n".join(programs), json.dumps(list(sentences))], directory, warm=LIBRARIES)
    assert done.returncode == 0, done.stderr

    # White space around a translation says nothing; this package drops it.
    return [[str(line).strip() for line in json.loads(printed)] for printed in done.stdout.splitlines()]
