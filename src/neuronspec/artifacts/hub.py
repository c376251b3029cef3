"""Files on the Hugging Face hub: found in a repository, or uploaded with a card."""

from __future__ import annotations

import os
import re
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.version import __version__

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")  # owner/name
_OFFLINE = "HF_HUB_OFFLINE"  # variable that makes the hub's client use only what it has downloaded
_PATIENCE = 3.0  # seconds in which a hub that can be reached has answered


def fetch(source: str | Path, file: str, revision: str | None = None) -> Path:
    """Return the path of a file: in a directory, the file itself, or a copy from a repository of the hub.

    Args:
        source: Path of a directory or a file; where there is none, `owner/name` on the hub.
        file: Name of the file in its directory or repository.
        revision: Branch, tag or commit on the hub.

    Raises:
        NeuronspecError: If the hub has no such repository or file, or cannot be reached.
    """
    # What exists here comes first, and what cannot be a repository is meant to be here.
    path = Path(source)
    here = os.path.exists(path)  # noqa: PTH110 - of a name that is too long, Path.exists raises
    if here or not _REPOSITORY.fullmatch(str(source)) or str(source).startswith("."):
        return path / file if here and path.is_dir() else path

    # Only here: the client takes a while to import.
    avoid_retries()
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(str(source), file, revision=revision))
    except Exception as error:  # each version of the hub's client has errors of its own
        raise NeuronspecError(
            f"{source}: no such file or directory here, and none from the hub: {first_line(error)}"
        ) from error


def avoid_retries() -> None:
    """Let the hub's client use only what it has downloaded, if the hub cannot be reached.

    By itself it would try again and again for half a minute, and say so each time.
    """
    # Users decide for themselves; a proxy knows hosts that this machine cannot resolve.
    if _OFFLINE in os.environ or getproxies():
        return
    if _can_reach(os.environ.get("HF_ENDPOINT") or "https://huggingface.co"):
        return

    # The client reads the variable when it is imported.
    os.environ[_OFFLINE] = "1"
    if "huggingface_hub" in sys.modules:
        from huggingface_hub import constants

        constants.HF_HUB_OFFLINE = True


def _can_reach(address: str) -> bool:
    """Return whether a server answers; looking up its name has no time limit of its own, so a thread does it."""
    parts = urlsplit(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    answers: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname, port), timeout=_PATIENCE).close()
        except OSError:
            return
        answers.append(True)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return bool(answers)


def upload(
    save: Callable[[Path], object],
    repository: str,
    *,
    card: str,
    message: str,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Upload files to the hub, with a card unless there is one, and return the address.

    Args:
        save: Function that writes the files into a directory.
        repository: `owner/name`; created if it does not exist.
        card: Text of `README.md`. A card that is there already stays.
        message: Message of the commit.
        private: Whether a new repository is private; by default as its owner's settings say.
        token: Token of the hub; by default that of the user who is logged in.
        revision: Branch to upload to.

    Raises:
        NeuronspecError: If the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="neuronspec", library_version=__version__)
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)

        # The card may have been edited on the hub: one that is there stays.
        with tempfile.TemporaryDirectory() as directory:
            save(Path(directory))
            if not api.file_exists(repository, "README.md", revision=revision):
                (Path(directory) / "README.md").write_text(card, encoding="utf-8")
            api.upload_folder(repo_id=repository, folder_path=directory, revision=revision, commit_message=message)
    except Exception as error:  # each version of the hub's client has errors of its own
        raise NeuronspecError(f"cannot upload to {repository}: {first_line(error)}") from error
    return str(address)
