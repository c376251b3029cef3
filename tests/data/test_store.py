import contextlib
import functools
import os
import pickle
import signal
import time
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.patience import PATIENCE

from neuronspec.data import blocks, encoding, tasks
from neuronspec.data.store import Encode, TokenStore, build_store
from neuronspec.data.texts import read_columns
from neuronspec.errors import NeuronspecError
from neuronspec.executors import use_workers

SMALL, LARGE = 1 << 16, (1 << 16) + 1
Pairs = list[tuple[str, str]]


def encode_words(sentences: list[str]) -> list[list[int]]:
    """Every word is its own number."""
    return [[int(word) for word in sentence.split()] for sentence in sentences]


def make_encoder() -> Encode:
    return encode_words


def write_texts(directory: Path, texts: dict[str, Pairs]) -> dict[str, Path]:
    paths = {pair: directory / f"{pair}.tsv" for pair in texts}
    for pair, lines in texts.items():
        paths[pair].write_text("".join(f"{first}\t{second}\n" for first, second in lines), encoding="utf-8")
    return paths


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, Path]:
    return write_texts(tmp_path, {"en-de": [("1 2 3", "4"), ("5", "6 7")], "en-fr": [("8 65535", "9 10 11")]})


@pytest.fixture
def built(tmp_path: Path, texts: dict[str, Path]) -> TokenStore:
    return build_store(tmp_path / "store", texts, make_encoder, SMALL)


@pytest.mark.parametrize(("vocabulary_size", "bytes_per_token"), [(SMALL, 2), (LARGE, 4)])
@given(data=st.data())
@settings(max_examples=20)
def test_what_was_stored_is_read_again(
    vocabulary_size: int, bytes_per_token: int, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    sentence = st.lists(st.sampled_from([0, 1, vocabulary_size - 1]) | st.integers(0, vocabulary_size - 1), max_size=8)
    pairs = data.draw(st.dictionaries(st.sampled_from(["en-de", "en-fr"]), st.lists(st.tuples(sentence, sentence))))
    directory = tmp_path_factory.mktemp("round-trip")
    lines = {
        name: [(" ".join(map(str, first)), " ".join(map(str, second))) for first, second in pair]
        for name, pair in pairs.items()
    }
    store = build_store(directory / "store", write_texts(directory, lines), make_encoder, vocabulary_size)
    assert store.pairs == {name: len(pair) for name, pair in pairs.items()}
    for name, pair in pairs.items():
        assert store.lengths(name).tolist() == [[len(first), len(second)] for first, second in pair]
        read = [tuple(store.sequence(name, side, n).tolist() for side in (0, 1)) for n in range(len(pair))]
        assert read == pair
        tokens = sum(len(first) for first, _ in pair)
        assert (directory / "store" / f"{name}.0.tokens").stat().st_size == tokens * bytes_per_token


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_chunks_join_without_a_seam(
    chunk: int, tmp_path: Path, texts: dict[str, Path], built: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "CHUNK", chunk)
    again = build_store(tmp_path / "again", texts, make_encoder, SMALL)
    assert contents(again.directory) == contents(built.directory)


def test_parallel_build_equals_serial(
    tmp_path: Path, texts: dict[str, Path], built: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "DONE_HERE", 0)
    monkeypatch.setattr(blocks, "BLOCK_LINES", 1)
    with use_workers(2):
        parallel = build_store(tmp_path / "parallel", texts, make_encoder, SMALL)
    assert contents(parallel.directory) == contents(built.directory)


def test_what_was_encoded_is_not_encoded_again_unless_text_or_vocabulary_have_changed(
    tmp_path: Path, texts: dict[str, Path], built: TokenStore
) -> None:
    encoded: list[str] = []

    def encode(sentences: list[str]) -> list[list[int]]:
        encoded.extend(sentences)
        return encode_words(sentences)

    def build(name: str, fingerprint: str) -> list[str]:
        encoded.clear()
        store = build_store(
            tmp_path / name, texts, lambda: encode, SMALL, workspace=tmp_path / "work", fingerprint=fingerprint
        )
        assert contents(store.directory) == contents(built.directory)
        return sorted(encoded)

    everything = sorted(["1 2 3", "4", "5", "6 7", "8 65535", "9 10 11"])
    assert build("first", "a") == everything
    assert build("second", "a") == []
    [kept] = (tmp_path / "work").glob("en-fr*")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert build("third", "a") == ["8 65535", "9 10 11"]
    os.utime(texts["en-de"], (1, 1))
    assert build("fourth", "a") == ["1 2 3", "4", "5", "6 7"]
    assert build("fifth", "b") == everything


def interrupt_and_wait(first: Path) -> Encode:
    """Interrupt, in the first process alone, the one that started it, and encode nothing for a long time."""

    def encode(_: list[str]) -> list[list[int]]:
        with contextlib.suppress(FileExistsError):
            first.mkdir()
            os.kill(os.getppid(), signal.SIGINT)
        time.sleep(PATIENCE)
        return []

    return encode


def test_an_interrupted_build_waits_for_nobody_and_leaves_nothing(
    tmp_path: Path, texts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "DONE_HERE", 0)
    others = set(active_children())
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with use_workers(2), pytest.raises(KeyboardInterrupt):
            build_store(
                tmp_path / "out" / "store", texts, functools.partial(interrupt_and_wait, tmp_path / "first"), SMALL
            )
    finally:
        signal.signal(signal.SIGINT, handler)
    assert set(active_children()) == others
    assert not [*(tmp_path / "out").iterdir()]


def test_an_unpickled_store_maps_the_files_again(built: TokenStore) -> None:
    assert built.sequence("en-de", 0, 0).tolist() == [1, 2, 3]
    frozen = pickle.dumps(built)
    (built.directory / "en-de.0.tokens").write_bytes(np.arange(40, 44, dtype=np.uint16).tobytes())
    thawed = pickle.loads(frozen)
    assert thawed.sequence("en-de", 0, 0).tolist() == [40, 41, 42]
    assert isinstance(thawed.sequence("en-de", 0, 0), np.memmap)


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4 if path.suffix == ".tokens" else 16])


@pytest.mark.parametrize("damage", [remove, truncate, empty, shorten])
@pytest.mark.parametrize("kind", ["tokens", "offsets"])
def test_damaged_files_are_refused(kind: str, damage: Callable[[Path], None], built: TokenStore) -> None:
    damage(built.directory / f"en-de.1.{kind}")
    store = TokenStore(built.directory)
    assert store.sequence("en-de", 0, 1).tolist() == [5]
    with pytest.raises(NeuronspecError, match=rf"en-de\.1\.{kind} .*damaged; run prepare again with --force"):
        store.sequence("en-de", 1, 1)


def test_no_store_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=r"store\.json does not exist"):
        TokenStore(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(NeuronspecError, match=r"store\.json is not valid JSON"):
        TokenStore(tmp_path)


def test_an_unknown_pair_is_named_beside_the_known(built: TokenStore) -> None:
    with pytest.raises(NeuronspecError, match=r"no pair 'de-en'; it has en-de, en-fr"):
        built.lengths("de-en")


def test_a_failed_build_leaves_the_store_of_before(tmp_path: Path, texts: dict[str, Path], built: TokenStore) -> None:
    before = contents(built.directory)
    texts["en-fr"].write_text("1\t2\nno number\t3\n")
    with pytest.raises(ValueError, match="invalid literal"):
        build_store(built.directory, texts, make_encoder, SMALL)
    assert contents(built.directory) == before
    assert not list(tmp_path.glob(".*"))


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    path = tmp_path / "text.tsv"
    path.write_bytes("a\u2028b\x85c\td\r\ne\tf\n".encode())
    assert list(read_columns(path)) == [["a\u2028b\x85c", "d\r"], ["e", "f"]]


def test_text_is_encoded_a_chunk_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def encode(sentences: list[str]) -> list[list[int]]:
        sizes.append(len(sentences))
        return encode_words(sentences)

    monkeypatch.setattr(encoding, "CHUNK", 10)
    build_store(tmp_path / "store", write_texts(tmp_path, {"en-de": [("1", "2")] * 25}), lambda: encode, SMALL)
    assert sizes == [10, 10, 10, 10, 5, 5]
