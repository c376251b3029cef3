from __future__ import annotations

import base64
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.file_download
import huggingface_hub.utils._http
import pytest
import torch
import yaml
from huggingface_hub import constants

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.mask_card import make_mask_card
from neuronspec.neurons.masks import NeuronMasks

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TASKS = ("de-en", "en-fr")


@pytest.fixture
def masks() -> NeuronMasks:
    values = {"encoder.0": torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0]]), "decoder.0": torch.tensor([[1] * 9, [0] * 9])}
    return NeuronMasks(TASKS, values, {"rule": "coverage", "k.encoder": "0.95"})


class Hub:
    """A server on this machine that speaks as much of the Hugging Face hub as uploading and downloading need."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}  # (repository, revision) -> path -> content
        self.created: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.authorization: set[str] = set()
        self.forbidden = False
        self.breaks_off = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub.asked.append(f"{self.command} {self.path}")
                if "/api/repos/" in self.path or "/commit/" in self.path:
                    hub.authorization.add(self.headers.get("Authorization", ""))
                status, headers, content = hub.reply(self.path, body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET" and hub.breaks_off:
                    self.wfile.write(content[: len(content) // 2])
                    self.close_connection = True
                elif self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = answer  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def reply(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolve(*found.groups())
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {}, b'{"errors": [], "warnings": []}'
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/([^/]+)", path):
            repository, verb, revision = found.groups()
            if (repository, revision) not in self.files:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b'{"error": "no such branch"}'
            return self.preupload(json.loads(body)) if verb == "preupload" else self.commit(repository, revision, body)
        return 404, {}, b'{"error": "this hub does not know that"}'

    def resolve(self, repository: str, revision: str, path: str) -> tuple[int, dict[str, str], bytes]:
        if not any(repository == name for name, _ in self.files):
            return 404, {"X-Error-Code": "RepoNotFound"}, b"Repository not found"
        if (repository, revision) not in self.files:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"Revision not found"
        content = self.files[repository, revision].get(path)
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b"Entry not found"
        etag = f'"{hash((repository, revision, content)) & (1 << 60) - 1:040x}"'
        commit = COMMIT if revision == "main" else COMMIT[::-1]
        return 200, {"X-Repo-Commit": commit, "ETag": etag, "Accept-Ranges": "none"}, content

    def create(self, wanted: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if self.forbidden:
            return 403, {"X-Error-Message": "You have no right to write here"}, b'{"error": "forbidden"}'
        repository = f"{wanted['organization']}/{wanted['name']}"
        self.created.append(wanted)
        status = 409 if (repository, "main") in self.files else 200
        self.files.setdefault((repository, "main"), {})
        return status, {}, json.dumps({"url": f"{self.address}/{repository}"}).encode()

    def preupload(self, wanted: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in wanted["files"]]
        return 200, {}, json.dumps({"files": modes}).encode()

    def commit(self, repository: str, revision: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                self.files[repository, revision][line["value"]["path"]] = content
        made = {"commitUrl": f"{self.address}/{repository}/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
        return 200, {}, json.dumps(made).encode()


def go_online(monkeypatch: pytest.MonkeyPatch, address: str, home: Path) -> None:
    """Let huggingface_hub talk to this address, with a cache and a login of its own, and without waiting to retry."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for module in (huggingface_hub.utils._http, huggingface_hub.file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None}))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    hub = Hub()
    go_online(monkeypatch, hub.address, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    yield hub
    hub.stop()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    go_online(monkeypatch, f"http://127.0.0.1:{port}", tmp_path / "home")
    monkeypatch.chdir(tmp_path)


def content_of(masks: NeuronMasks, directory: Path) -> bytes:
    return masks.save_pretrained(directory).read_bytes()


def test_a_directory_and_a_file_are_read(masks: NeuronMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = masks.save_pretrained(tmp_path / "runs" / "masks")
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "copy.safetensors"
    other.write_bytes(path.read_bytes())
    for source in (
        path,
        str(path),
        path.parent,
        str(path.parent),
        other,
        "runs/masks",
        "./runs/masks",
        "copy.safetensors",
    ):
        assert NeuronMasks.from_pretrained(source) == masks


def test_saving_again_replaces_the_file(masks: NeuronMasks, tmp_path: Path) -> None:
    masks.complement().save_pretrained(tmp_path)
    masks.save_pretrained(tmp_path)
    assert NeuronMasks.from_pretrained(tmp_path) == masks
    assert [path.name for path in tmp_path.iterdir()] == [MASKS_FILE]


def test_the_same_masks_make_the_same_bytes(masks: NeuronMasks, tmp_path: Path) -> None:
    assert content_of(masks, tmp_path / "a") == content_of(masks, tmp_path / "b")


def test_names_of_any_script_are_kept(tmp_path: Path) -> None:
    masks = NeuronMasks(
        ["日本語-中文", 'a "quoted" | task', "می‌خواهم"], {"encoder.0": torch.eye(3, 10)}, {"bemærkning": "å\n"}
    )
    loaded = NeuronMasks.from_pretrained(masks.save_pretrained(tmp_path))
    assert loaded == masks
    assert loaded.signature == masks.signature


@pytest.mark.parametrize("source", ["no", "no.safetensors", "./a/b", "a/b/c", "/no/such/place", "../a/b", "~/masks"])
def test_a_path_that_is_not_there_is_refused_by_name(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NeuronspecError, match=f"{re.escape(str(Path(source)))} does not exist: expected neuron masks"):
        NeuronMasks.from_pretrained(source)


@pytest.mark.parametrize("source", ["x" * 300, "x" * 300 + "/" + "y" * 300, "a\0b", ""])
def test_a_source_that_can_be_no_path_is_refused(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NeuronspecError):
        NeuronMasks.from_pretrained(source)


def test_a_directory_that_cannot_be_written_is_refused(masks: NeuronMasks, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NeuronspecError, match=r"cannot write .*is a file, not a directory"):
        masks.save_pretrained(tmp_path / "file" / "masks")


def test_masks_come_from_the_hub(hub: Hub, masks: NeuronMasks, tmp_path: Path) -> None:
    hub.files["ann/masks", "main"] = {MASKS_FILE: content_of(masks, tmp_path / "local")}
    loaded = NeuronMasks.from_pretrained("ann/masks")
    assert loaded == masks
    assert loaded.signature == masks.signature
    assert f"GET /ann/masks/resolve/main/{MASKS_FILE}" in hub.asked
    assert not any("README" in asked or "commit" in asked for asked in hub.asked)


def test_a_revision_of_the_hub_is_another_file(hub: Hub, masks: NeuronMasks, tmp_path: Path) -> None:
    hub.files["ann/masks", "main"] = {MASKS_FILE: content_of(masks, tmp_path / "one")}
    hub.files["ann/masks", "v2"] = {MASKS_FILE: content_of(masks.complement(), tmp_path / "two")}
    assert NeuronMasks.from_pretrained("ann/masks", revision="v2") == masks.complement()
    assert NeuronMasks.from_pretrained("ann/masks") == masks
    with pytest.raises(NeuronspecError, match=r"^ann/masks: "):
        NeuronMasks.from_pretrained("ann/masks", revision="v3")


def test_a_local_directory_goes_before_the_hub(hub: Hub, masks: NeuronMasks, tmp_path: Path) -> None:
    hub.files["ann/masks", "main"] = {MASKS_FILE: content_of(masks.complement(), tmp_path / "local")}
    masks.save_pretrained(tmp_path / "ann" / "masks")
    assert NeuronMasks.from_pretrained("ann/masks") == masks
    assert not hub.asked


def test_what_came_from_the_hub_once_is_there_offline(
    hub: Hub, masks: NeuronMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["ann/masks", "main"] = {MASKS_FILE: content_of(masks, tmp_path / "local")}
    NeuronMasks.from_pretrained("ann/masks")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert NeuronMasks.from_pretrained("ann/masks") == masks
    assert not hub.asked


def test_r7_a_damaged_file_of_the_hub_is_refused(hub: Hub, masks: NeuronMasks, tmp_path: Path) -> None:
    hub.files["ann/masks", "main"] = {MASKS_FILE: content_of(masks, tmp_path / "local")[:-3]}
    with pytest.raises(NeuronspecError, match="damaged or no safetensors file"):
        NeuronMasks.from_pretrained("ann/masks")


NOWHERE = "^ann/masks: no such file or directory here, and none from the hub: "


def test_a_repository_that_the_hub_does_not_have_is_refused(hub: Hub) -> None:
    with pytest.raises(NeuronspecError, match=NOWHERE):
        NeuronMasks.from_pretrained("ann/masks")
    assert hub.asked


def test_a_repository_without_masks_is_refused(hub: Hub) -> None:
    hub.files["ann/masks", "main"] = {"README.md": b"# nothing here"}
    with pytest.raises(NeuronspecError, match=NOWHERE):
        NeuronMasks.from_pretrained("ann/masks")


def test_a_hub_that_is_switched_off_is_explained(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NeuronspecError, match=NOWHERE):
        NeuronMasks.from_pretrained("ann/masks")
    assert not hub.asked


@pytest.mark.usefixtures("nobody")
def test_a_hub_that_does_not_answer_is_explained() -> None:
    with pytest.raises(NeuronspecError, match=NOWHERE):
        NeuronMasks.from_pretrained("ann/masks")


def test_a_hub_that_breaks_off_is_explained(hub: Hub, masks: NeuronMasks, tmp_path: Path) -> None:
    hub.files["ann/masks", "main"] = {MASKS_FILE: content_of(masks, tmp_path / "local")}
    hub.breaks_off = True
    with pytest.raises(NeuronspecError, match=NOWHERE):
        NeuronMasks.from_pretrained("ann/masks")


@pytest.mark.parametrize("name", ["ann/masks.", "a..b/c", "-ann/masks", "ann/" + "m" * 97, "ann/masks--2"])
def test_a_name_that_no_repository_can_have_is_refused(hub: Hub, name: str) -> None:
    with pytest.raises(NeuronspecError, match=f"^{re.escape(name)}: "):
        NeuronMasks.from_pretrained(name)
    assert not hub.asked


def front_matter(card: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert found is not None
    values = yaml.safe_load(found[1])
    assert isinstance(values, dict)
    return values


def snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def test_pushed_masks_arrive_with_their_card(hub: Hub, masks: NeuronMasks, tmp_path: Path) -> None:
    address = masks.push_to_hub("ann/masks", token="hf_secret")
    assert address == f"{hub.address}/ann/masks"
    assert set(hub.files) == {("ann/masks", "main")}
    arrived = hub.files["ann/masks", "main"]
    assert set(arrived) == {MASKS_FILE, "README.md"}
    assert arrived[MASKS_FILE] == content_of(masks, tmp_path / "local")
    assert hub.authorization == {"Bearer hf_secret"}
    card = arrived["README.md"].decode()
    assert front_matter(card)["library_name"] == "neuronspec"
    assert "neuron-specialization" in front_matter(card)["tags"]
    (snippet,) = snippets(card)
    compile(snippet, "<card>", "exec")
    assert 'ns.NeuronMasks.from_pretrained("ann/masks")' in snippet
    assert 'tasks=["de-en"]' in snippet
    for said in (
        "# masks",
        "Tasks: de-en, en-fr",
        "| encoder.0 | 62.5 % |",
        "| decoder.0 | 50.0 % |",
        "| rule | coverage |",
    ):
        assert said in card


def test_what_was_pushed_can_be_pulled(hub: Hub, masks: NeuronMasks) -> None:
    masks.keep_bias().push_to_hub("ann/masks", token="hf_secret")
    pulled = NeuronMasks.from_pretrained("ann/masks")
    assert pulled == masks
    assert pulled.signature == masks.keep_bias().signature


def test_a_card_that_is_there_stays(hub: Hub, masks: NeuronMasks, tmp_path: Path) -> None:
    hub.files["ann/masks", "main"] = {"README.md": b"# mine", MASKS_FILE: b"old", "other.txt": b"kept"}
    masks.push_to_hub("ann/masks", token="hf_secret")
    new = content_of(masks, tmp_path / "local")
    assert hub.files["ann/masks", "main"] == {"README.md": b"# mine", MASKS_FILE: new, "other.txt": b"kept"}


def test_a_branch_is_pushed_to(hub: Hub, masks: NeuronMasks) -> None:
    hub.files["ann/masks", "main"] = {"README.md": b"# mine"}
    hub.files["ann/masks", "v2"] = {}
    masks.push_to_hub("ann/masks", token="hf_secret", revision="v2")
    assert hub.files["ann/masks", "main"] == {"README.md": b"# mine"}
    assert set(hub.files["ann/masks", "v2"]) == {"README.md", MASKS_FILE}
    with pytest.raises(NeuronspecError, match=r"^cannot upload to ann/masks: "):
        masks.push_to_hub("ann/masks", token="hf_secret", revision="v3")


@pytest.mark.parametrize("private", [True, False, None])
def test_a_new_repository_is_as_private_as_asked(hub: Hub, masks: NeuronMasks, private: bool | None) -> None:
    masks.push_to_hub("ann/masks", private=private, token="hf_secret")
    (wanted,) = hub.created
    said = wanted.get("private", {"private": True, "public": False}.get(wanted.get("visibility", "")))
    assert said is private


def test_a_hub_that_refuses_is_explained(hub: Hub, masks: NeuronMasks) -> None:
    hub.forbidden = True
    with pytest.raises(NeuronspecError, match=r"^cannot upload to ann/masks: ") as caught:
        masks.push_to_hub("ann/masks", token="hf_secret")
    assert "hf_secret" not in str(caught.value)
    assert not hub.files


def test_nothing_is_pushed_offline(hub: Hub, masks: NeuronMasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.utils._http.close_session()
    with pytest.raises(NeuronspecError, match=r"^cannot upload to ann/masks: .*offline"):
        masks.push_to_hub("ann/masks", token="hf_secret")
    assert not hub.asked


@pytest.mark.usefixtures("nobody")
def test_a_push_that_reaches_nobody_is_explained(masks: NeuronMasks) -> None:
    with pytest.raises(NeuronspecError, match=r"^cannot upload to ann/masks: "):
        masks.push_to_hub("ann/masks", token="hf_secret")


@pytest.mark.parametrize("name", ["a/b/c", "ann/masks--2", "", "ann/ma sks"])
def test_a_name_that_no_repository_can_have_is_not_pushed_to(hub: Hub, masks: NeuronMasks, name: str) -> None:
    with pytest.raises(NeuronspecError, match=f"^cannot upload to {re.escape(name)}: "):
        masks.push_to_hub(name, token="hf_secret")
    assert not hub.files


def test_a_card_of_any_names_is_sound() -> None:
    tasks, signature = ['say "hi"-en', "back\\slash", "two | columns"], {"model": "a | b", "note": "one\ntwo"}
    masks = NeuronMasks(tasks, {"encoder.0": torch.zeros(3, 4)}, signature)
    card = make_mask_card("ann/masks", masks.tasks, masks.sparsity(), masks.signature)
    assert set(front_matter(card)) == {"library_name", "tags"}
    (snippet,) = snippets(card)
    compile(snippet, "<card>", "exec")
    rows = [line for line in card.split("\n") if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert len(rows) == 2 + 1 + 2  # two headings, a layer, two entries of the signature
