"""Seeded damage to files: bytes, text, trees of values, and members of archives.

A mutation takes the bytes of a sound file and a generator of random numbers and gives other bytes.
Those that know a container (ZIP, safetensors, JSON, YAML) keep its checksums and lengths right, so
that the damage reaches the code behind them.
"""

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import yaml

Mutation = Callable[[bytes, random.Random], bytes]

NUMBERS = (0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 10**30)
VALUES: tuple[Any, ...] = (
    *NUMBERS,
    *(None, True, False, 1e400, -1e300, float("nan"), 0.5, 10**4000),
    *("", "x", "../x", "/dev/zero", "nul\0", "\ud800", "\x1b[2J", "=1+1", "9" * 5000, "2026-13-45"),
    *([], {}, [[]], {"": None}, {"__dataclass_self__": 1}, [5], {"a": {"b": [1, {"c": 2}]}}),
)
TOKENS = (
    *("!!int abc", "!!bool maybe", "!!python/object/apply:os.getcwd []", "2026-13-45", "&a [*a]"),
    *("[" * 3000, "{" * 3000, '"', "'", "\0", "\ufeff", "\t", ";", ",,", "\r", "\r\n\r\n", "\x85"),
    *("é", "e\u0301", "🔩", "\u202e", "1e999", "-0", "0x10", "NaN", "null", "~", "010", "no", "="),
    *("../../etc/passwd", "C:\\x\\y.png", "/dev/zero", "a" * 70_000, " x ", "'=1", "\\"),
)


def flip_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bytes become others."""
    if not data:
        return b"\0"
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        changed[_place(data, rng) % len(data)] = rng.randrange(256)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The end is missing, or a part in the middle."""
    first, second = sorted((_place(data, rng), _place(data, rng)))
    return data[:first] if rng.random() < 0.5 else data[:first] + data[second:]


def repeat(data: bytes, rng: random.Random) -> bytes:
    """A part comes twice, or many times."""
    first = _place(data, rng)
    part = data[first : first + rng.choice((1, 4, 16, 256, 4096))]
    return data[:first] + part * rng.choice((2, 3, 100)) + data[first:]


def write_numbers(data: bytes, rng: random.Random) -> bytes:
    """Extreme numbers of 1 to 8 bytes, of either byte order, where others were."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 4))):
        size = rng.choice((1, 2, 4, 8))
        value = rng.choice(NUMBERS) % 256**size
        place = _place(data, rng)
        changed[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))
    return bytes(changed)


def insert_tokens(data: bytes, rng: random.Random) -> bytes:
    """Words that parsers trip over, inserted or in the place of others."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = _place(data, rng)
        token = rng.choice(TOKENS).encode("utf-8", "surrogatepass")
        data = data[:place] + token + data[place + rng.choice((0, 0, 1, len(token))) :]
    return data


def mutate_lines(data: bytes, rng: random.Random) -> bytes:
    """Lines of a text missing, twice, in another order, in another encoding."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return rng.choice(TOKENS).encode("utf-8", "surrogatepass")
    kind = rng.randrange(5)
    if kind == 0:
        del lines[rng.randrange(len(lines))]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    elif kind == 2:
        rng.shuffle(lines)
    elif kind == 3:
        return data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-8-sig", "utf-32")))
    else:
        return data.replace(b",", rng.choice((b";", b"\t", b",,", b" , ", b"")))
    return b"".join(lines)


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Values of the tree of a JSON file replaced, missing, under another key."""
    return json.dumps(_mutate_tree(json.loads(data), rng)).encode()


def mutate_json_lines(data: bytes, rng: random.Random) -> bytes:
    """A line of JSON lines changed as `mutate_json` does."""
    lines = data.splitlines()
    if lines:
        place = rng.randrange(len(lines))
        lines[place] = mutate_json(lines[place], rng)
    return b"\n".join(lines) + b"\n"


def mutate_yaml(data: bytes, rng: random.Random) -> bytes:
    """Values of the tree of a YAML file replaced, missing, under another key."""
    tree = _mutate_tree(yaml.safe_load(data), rng)
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


def mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    """The header's JSON changed with a right length, or what the header holds as text."""
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    card = header.get("__metadata__", {})
    key = rng.choice(sorted(card)) if card else None
    if key is not None and card[key].startswith("{") and rng.random() < 0.5:
        card[key] = json.dumps(_mutate_tree(json.loads(card[key]), rng))
    else:
        header = _mutate_tree(header, rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def mutate_archive(data: bytes, rng: random.Random) -> bytes:
    """A member of a ZIP file (.npz, torch.save) changed, with a right checksum."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    chosen = rng.randrange(len(members))
    change = rng.choice((flip_bytes, cut, repeat, write_numbers, lambda *_: b""))
    compression = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    kind = rng.randrange(6)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, (info, content) in enumerate(members):
            name = info.filename
            if number == chosen and kind == 0:
                continue  # a member is missing
            if number == chosen and kind == 1:
                name = rng.choice((name + "x", "../" + name, name.upper()))
            elif number == chosen and kind == 2:
                content = bytes(rng.choice((2**20, 2**24)))
            elif number == chosen:
                # the beginning holds what says how the rest is to be read
                head = content[:400]
                content = change(head, rng) + content[400:]
            archive.writestr(name, content, compression if number == chosen else info.compress_type)
    return out.getvalue()


def _place(data: bytes, rng: random.Random) -> int:
    """A position; half of them in the first part, where headers are."""
    limit = len(data) + 1
    return rng.randrange(min(limit, 200) if rng.random() < 0.5 else limit)


def _mutate_tree(tree: Any, rng: random.Random) -> Any:
    """The same tree with one to three values changed."""
    tree = json.loads(json.dumps(tree, default=str))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(tree))
        if not places:
            return rng.choice(VALUES)
        holder, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[rng.choice(("", "x", "features", "nul\0", "\ud800", 'q"q'))] = holder.pop(key)
        elif kind == 2:
            holder[key] = [holder[key]] * rng.choice((0, 1, 2))
        elif kind == 3 and isinstance(holder[key], (int, float)):
            holder[key] = rng.choice((-holder[key], holder[key] * 10**6, str(holder[key])))
        elif kind == 4:
            for _ in range(rng.choice((1, 400))):
                holder[key] = [holder[key]]
        else:
            holder[key] = rng.choice(VALUES)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a tree of lists and dictionaries."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


BYTES: tuple[Mutation, ...] = (flip_bytes, cut, repeat, write_numbers)
TEXT: tuple[Mutation, ...] = (*BYTES, insert_tokens, insert_tokens, mutate_lines)
