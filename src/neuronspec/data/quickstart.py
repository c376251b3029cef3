"""The text of the quick start: downloaded once from the package index, and checked by its hash."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.files import explained, hash_path, publish

# One version for everybody, so that the quick start gives everybody the same text.
PACKAGE = "homeassistant==2025.4.4"
FILE = "homeassistant-2025.4.4-py3-none-any.whl"
SHA256 = "b7970fe3ce3a9d032a3a5dee3cbf71b227e7f23fad14a23855ee252542ef2631"
MEMBERS = "homeassistant/components/*/translations/{lang}.json"  # the files of the wheel that are read
CACHE = Path("~/.cache/neuronspec")


def fetch_text() -> Path:
    """Return the file that holds the text of the quick start, after downloading it with pip if necessary.

    It is a wheel of Home Assistant (43 MB, Apache-2.0), of which only the translation catalogs are read; it is
    never installed.

    Raises:
        NeuronspecError: If it cannot be downloaded, or is not the file that was expected.
    """
    path = CACHE.expanduser() / FILE
    if not path.is_file():
        _download(path)

    # Checked each time, since the file may have been cut or replaced after the download.
    if hash_path(path) != SHA256:
        raise NeuronspecError(f"{path} is not the text of the quick start (its SHA-256 differs): delete it, try again")
    return path


def _download(path: Path) -> None:
    # The wheel requires Python 3.13 to run; it is only read, so that any Python may fetch it.
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
        *("--python-version", "3.13", "--disable-pip-version-check"),
    ]
    with explained(path), tempfile.TemporaryDirectory() as folder:
        # A file of requirements, because pip takes a hash only in one.
        requirement = Path(folder) / "text.txt"
        requirement.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")

        done = subprocess.run(
            [*command, "--require-hashes", "-r", str(requirement), "-d", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            # Where pip fails, its last line says why.
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise NeuronspecError(
                f"cannot download the quick start's text ({last}); with a network, run: pip download --no-deps "
                f"--only-binary=:all: --python-version 3.13 {PACKAGE}   and give the file with --text"
            )

        # Only a complete file appears in the cache.
        with publish(path) as temporary:
            shutil.copyfile(Path(folder) / FILE, temporary)
