"""Damage to weight files: odd tensors and keys in a checkpoint, operations of its pickle."""

import io
import itertools
import json
import pickletools
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.fuzz import mutations

_DTYPES = (
    torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool,
    torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.int32,
)  # fmt: skip
_SAFETENSORS_DTYPES = (
    *("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "F6_E3M2"),
    *("I64", "I8", "U16", "BOOL", "C64", "X", ""),
)


def mutate_checkpoint(data: bytes, rng: random.Random) -> bytes:
    """Values of the tree that torch.save wrote replaced by tensors and values of odd kinds."""
    tree = torch.load(io.BytesIO(data), weights_only=True)
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = tree
        while rng.random() < 0.8:
            inside = [value for value in place.values() if isinstance(value, dict)]
            if not inside or inside[0] is place:
                break
            place = rng.choice(inside)
        key = rng.choice(list(place)) if place else "x"
        value = place.get(key)
        tensor = value if isinstance(value, Tensor) else torch.ones(3, 4)
        kind = rng.randrange(8)
        if kind == 0:
            place.pop(key, None)
        elif kind == 1:
            odd = (
                0,
                None,
                (),
                ("a", ("b", ("c",))),
                2**70,
                "",
                "\ud800",
                "nul\0",
                "x" * 10**5,
                1.5,
            )
            place[rng.choice(odd)] = place.pop(key, None)
        elif kind == 2:
            place[rng.choice((key, "more"))] = tree  # contains itself
        else:
            odd_value = rng.choice(_ODD_TENSORS if kind < 7 else _ODD_VALUES)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    place[rng.choice((key, key, "more"))] = odd_value(tensor, rng)
                except (RuntimeError, ValueError, NotImplementedError):  # not of this shape
                    place[key] = None
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(tree, out, _use_new_zipfile_serialization=rng.random() < 0.7)
    return out.getvalue()


_ODD_TENSORS: tuple[Callable[[Tensor, random.Random], Any], ...] = (
    lambda t, rng: t.to(rng.choice(_DTYPES)),
    lambda t, rng: t.to(rng.choice(_DTYPES)),
    lambda t, _: t.to_sparse(),
    lambda t, _: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
    lambda t, _: torch.nested.nested_tensor([t, t]),
    lambda t, _: t.to("meta"),
    lambda t, _: t[:1].expand(10**6, *t.shape[1:]),
    lambda *_: torch.ones(()).expand(10**9),
    lambda *_: torch.ones(5)[::2],
    lambda t, _: t.flip(0).t() if t.ndim == 2 else t.flip(0),
    lambda t, _: torch.nn.Parameter(t.float()),
    lambda t, _: t * float("nan"),
    lambda t, _: t * float("inf"),
    lambda t, _: t.double() * 1e300,
    lambda t, _: t[:0],
    lambda t, _: t.reshape(-1),
    lambda t, _: t[None, None],
    lambda _, rng: torch.zeros(rng.choice(((), (0,), (0, 10**9), (1,) * 60))),
)
_ODD_VALUES: tuple[Callable[[Tensor, random.Random], Any], ...] = (
    lambda t, _: [t, t],
    lambda t, _: {"a": t},
    lambda t, _: {(1, 2): {(3,): t}},
    lambda *_: {f"k{n}": n for n in range(5000)},
    lambda *_: torch.Size([3, 4]),
    lambda *_: torch.float32,
    lambda *_: torch.device("cuda:7"),
    lambda *_: [[[[]]]] * 100,
    lambda *_: {"x"},
    lambda *_: 1 + 2j,
    lambda *_: "text" * 1000,
    lambda t, _: t.untyped_storage(),
)


def mutate_pickle(data: bytes, rng: random.Random) -> bytes:
    """Operations of the pickle of torch.save or TorchScript missing, twice, changed, moved."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members:
            if name.endswith("/data.pkl"):
                content = _program_changed(content, rng)
            archive.writestr(name, content)
    return out.getvalue()


def mutate_old_pickle(data: bytes, rng: random.Random) -> bytes:
    """The same of the fourth pickle of torch's old format, which holds the tree."""
    stream = io.BytesIO(data)
    for _ in range(3):
        for _ in pickletools.genops(stream):
            pass
    start = stream.tell()
    for _ in pickletools.genops(stream):
        pass
    stop = stream.tell()
    return data[:start] + _program_changed(data[start:stop], rng) + data[stop:]


def _program_changed(program: bytes, rng: random.Random) -> bytes:
    places = [place for _, _, place in pickletools.genops(program)] + [len(program)]
    steps = [program[a:b] for a, b in itertools.pairwise(places)]
    added = (b"(", b"}", b"]", b"0", b"2", b"1", b"R", b"b", b"s", b"u", b"e", b"a", b".", b"\x85",
             b"cos\nsystem\n", b"cbuiltins\ngetattr\n", b"ctorch\nfloat8_e4m3fn\n", b"K\1", b"N",
             b"ccollections\nOrderedDict\n)R", b"r\xff\xff\xff\xff", b"j\xff\xff\xff\xff", b"Q",
             b"\x8a\xff" + b"\xff" * 255, b"J\xff\xff\xff\x7f", b"\x93", b"\x81", b"\x92", b"\x97",
             b"X\xff\xff\xff\xff", b"(" * 5000, b"\x8d" + b"\xff" * 7 + b"\x7f", b"\x94",
             b"ctorch._utils\n_rebuild_sparse_tensor\n", b"cnumpy.core.multiarray\n_reconstruct\n",
             b"cargparse\nNamespace\n)\x81}b")  # fmt: skip
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(steps))
        kind = rng.randrange(6)
        if kind == 0:
            del steps[place]
        elif kind == 1:
            steps.insert(place, rng.choice(steps))
        elif kind == 2:
            steps.insert(place, rng.choice(added))
        elif kind == 3:
            other = rng.randrange(len(steps))
            steps[place], steps[other] = steps[other], steps[place]
        elif kind == 4:
            step = bytearray(steps[place])
            step[rng.randrange(len(step))] = rng.randrange(256)
            steps[place] = bytes(step)
        else:
            numbers = [n for n, step in enumerate(steps) if step[:1] in (b"K", b"M", b"J")]
            if numbers:
                number = rng.choice((0, -1, 1, 2**31 - 1, 10**6, -(2**31)))
                steps[rng.choice(numbers)] = b"J" + struct.pack("<i", number)
        if not steps:
            break
    return b"".join(steps)


def mutate_tensors(data: bytes, rng: random.Random) -> bytes:
    """Tensors of a safetensors file of other dtypes, shapes and places; lengths stay right."""
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    names = [name for name in header if name != "__metadata__"]
    for _ in range(rng.choice((1, 1, 3))):
        name, other = rng.choice(names), rng.choice(names)
        entry = dict(header[name])
        kind = rng.randrange(7)
        if kind == 0:
            entry["dtype"] = rng.choice(_SAFETENSORS_DTYPES)
        elif kind == 1:
            entry["shape"] = rng.choice(
                ([], [0], [0, 2**40], [1] * 100, [2**32, 2**32], [-1], [1.0])
            )
        elif kind == 2:
            start, _ = entry["data_offsets"]
            entry |= {"shape": [0], "data_offsets": [start, start]}
        elif kind == 3:  # as many bytes of another type
            start, stop = entry["data_offsets"]
            dtype = rng.choice(("U8", "I8", "F8_E4M3", "BOOL", "F8_E8M0"))
            entry |= {"dtype": dtype, "shape": [stop - start]}
        elif kind == 4:
            entry, header[other] = dict(header[other]), entry
        elif kind == 5:  # numbers that are none
            start, stop = entry["data_offsets"]
            body = body[:start] + rng.choice((b"\xff", b"\x7f")) * (stop - start) + body[stop:]
        else:
            header[rng.choice(("", "nul\0", "\u202e", "a" * 10**5, other + "x"))] = {
                "dtype": "F32", "shape": [0], "data_offsets": [len(body)] * 2
            }  # fmt: skip
        header[name] = entry
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


ARCHIVE = (*mutations.BYTES, mutations.mutate_archive, mutations.mutate_archive)
CHECKPOINT = (*ARCHIVE, mutate_pickle, mutate_pickle, mutate_pickle, *[mutate_checkpoint] * 4)
OLD_CHECKPOINT = (*mutations.BYTES, mutate_old_pickle, mutate_old_pickle, mutate_checkpoint)
SAFETENSORS = (*mutations.BYTES, mutations.mutate_safetensors, mutate_tensors, mutate_tensors)
