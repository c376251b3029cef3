"""Mutations of files: of their bytes, of the values in them, and of what stands in their place."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Mutation = Callable[[random.Random, bytes], bytes]

WORDS = (
    *("", " ", "\0", "\ud800", "../../etc/passwd", "/dev/zero", "x" * 5_000, "\x1b[2J", "NaN", "1e999", "-1", "de-en"),
    *("encoder.0", "\u202e", "{lang}", "a" * 300, "float32", "__class__", "eval('1')", "null", "\n", "=1+1"),
)
NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 1e308, float("nan"), float("inf"), -0.0, 0.5, 65_537)


def draw_value(rng: random.Random) -> Any:
    """Return a value that hardly any key expects."""
    kind = rng.randrange(8)
    if kind < 3:
        return rng.choice(NUMBERS)
    if kind < 5:
        return rng.choice(WORDS)
    if kind == 5:
        return rng.choice([None, True, False])
    return rng.choice([[], {}, [[]], {"": None}, [draw_value(rng)] * 3, {rng.choice(WORDS): draw_value(rng)}])


# Values: JSON, YAML (of which JSON is a part), JSON lines, headers of tensors


def change_value(rng: random.Random, value: Any, depth: int = 0) -> Any:
    """Return a JSON value with one change somewhere in it."""
    stops = not isinstance(value, dict | list) or not value or depth > 8
    if stops or rng.random() < 0.15:
        return _nest(rng) if rng.random() < 0.02 else draw_value(rng)
    if isinstance(value, dict):
        return _change_mapping(rng, value, depth)

    changed = list(value)
    place = rng.randrange(len(changed))
    action = rng.randrange(6)
    if action == 0:
        del changed[place]
    elif action == 1:
        rng.shuffle(changed)
    elif action == 2:
        changed.append(draw_value(rng))
    elif action == 3:
        changed *= 2
    else:
        changed[place] = change_value(rng, changed[place], depth + 1)
    return changed


def _change_mapping(rng: random.Random, value: dict[str, Any], depth: int) -> dict[str, Any]:
    changed = dict(value)
    key = rng.choice(list(changed))
    action = rng.randrange(8)
    if action == 0:
        del changed[key]
    elif action == 1:
        changed[rng.choice(WORDS)] = draw_value(rng)
    elif action == 2:
        changed[rng.choice(WORDS)] = changed.pop(key)
    elif action == 3:
        changed[key] = changed[rng.choice(list(changed))]
    else:
        changed[key] = change_value(rng, changed[key], depth + 1)
    return changed


def _nest(rng: random.Random) -> Any:
    """Return a list or a mapping that is nested deeply, though not too deeply to be written."""
    value: Any = 1
    for _ in range(rng.choice([50, 400])):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def _write(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def mutate_json(rng: random.Random, content: bytes) -> bytes:
    """Change one to three values."""
    value = json.loads(content)
    for _ in range(rng.randint(1, 3)):
        value = change_value(rng, value)
    if rng.random() < 0.02:
        return b"[" * 100_000
    return _write(value)


def mutate_json_lines(rng: random.Random, content: bytes) -> bytes:
    """Change a value in a line, or the order and number of the lines."""
    lines = content.splitlines()
    place = rng.randrange(len(lines))
    action = rng.randrange(5)
    if action == 0:
        rng.shuffle(lines)
    elif action == 1:
        lines.insert(place, rng.choice(lines))
    elif action == 2:
        del lines[place]
    else:
        lines[place] = mutate_json(rng, lines[place])
    return b"\n".join(lines) + b"\n"


def mutate_tensors(rng: random.Random, content: bytes) -> bytes:
    """Change the header of a safetensors file: names, types, shapes and places of tensors, or our own header."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    ours = header.get("__metadata__", {}).get("neuronspec")
    if ours is not None and rng.random() < 0.6:
        header["__metadata__"]["neuronspec"] = _write(change_value(rng, json.loads(ours))).decode(errors="replace")
    else:
        header = _change_tensor(rng, header)
    text = _write(header)
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def _change_tensor(rng: random.Random, header: dict[str, Any]) -> Any:
    """Change a tensor in a way that the library may accept: another type of the same size, another shape."""
    names = [name for name in header if name != "__metadata__"]
    if not names or rng.random() < 0.3:
        return change_value(rng, header)
    name = rng.choice(names)
    tensor = dict(header[name])
    action = rng.randrange(4)
    if action == 0:
        sizes = {"F32": ["I32", "U32"], "I64": ["F64", "U64"], "U8": ["BOOL", "I8"], "I32": ["F32"], "F64": ["I64"]}
        tensor["dtype"] = rng.choice(sizes.get(tensor["dtype"], ["F32"]))
    elif action == 1:
        tensor["shape"] = rng.choice([tensor["shape"][::-1], [1, *tensor["shape"]], [*tensor["shape"], 1]])
    elif action == 2:
        other = rng.choice(names)
        return {**header, name: header[other], other: tensor}
    else:
        return {rng.choice(WORDS) if key == name else key: value for key, value in header.items()}
    return {**header, name: tensor}


# Bytes


def mutate_bytes(rng: random.Random, content: bytes) -> bytes:
    """Flip, cut, insert, repeat or replace bytes."""
    data = bytearray(content)
    start, stop = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    action = rng.randrange(9)
    if action == 0:
        return bytes(data[:start])
    if action == 1:
        return b""
    if action == 2:
        data[start : start + rng.choice([1, 2, 4, 8])] = rng.choice([b"\xff" * 8, b"\0" * 8, b"\x7f" * 4, b"\x80"])
    elif action == 3:
        del data[start:stop]
    elif action == 4:
        data[start:start] = rng.choice([b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n" * 50, b"\xed\xa0\x80", b'"'])
    elif action == 5:
        data[start:start] = data[start:stop][:10_000]
    elif action == 6:
        return rng.randbytes(rng.choice([1, 8, 100, 5_000]))
    else:
        for _ in range(rng.choice([1, 1, 3, 30])):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


STRUCTURED: dict[str, Mutation] = {
    ".json": mutate_json,
    ".yaml": mutate_json,
    ".jsonl": mutate_json_lines,
    ".safetensors": mutate_tensors,
}


def mutate(rng: random.Random, content: bytes, suffix: str) -> bytes:
    """Return a file's content with a mutation; where its format is known, mostly one of its values."""
    structured = STRUCTURED.get(suffix)
    if structured is not None and rng.random() < 0.7:
        content = structured(rng, content)
        return content if rng.random() < 0.9 else mutate_bytes(rng, content)
    return mutate_bytes(rng, content)


# What stands in a file's place


def _make_loop(path: Path) -> None:
    path.symlink_to(path)


PLACES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a directory": Path.mkdir,
    "a pipe": os.mkfifo,
    "a link to itself": _make_loop,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to an endless device": lambda path: path.symlink_to("/dev/zero"),
}


def clear(path: Path) -> None:
    """Remove whatever stands in a place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
