"""Reads the program of a pickle without running it, and refuses what would do harm.

Torch's weights-only reader runs nothing that is unsafe, but trusts the amounts: a file of a few
kilobytes can ask for tensors larger than their storage, for storages larger than the file, or for
keys whose hash takes years. The scan follows the program with stand-ins for the values, counts the
work, and names the classes that the file asks for. It knows the operations that torch's reader
knows.
"""

import math
import pickle
import pickletools
import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, cast

import torch

MOST_STEPS = 500_000  # a model of 700 tensors with its optimizer has about 70,000
MOST_CALLS = 100_000
MOST_WORK = 10_000_000  # values that are hashed or read by a call
MOST_DEPTH = 50  # of tuples within tuples
LONGEST = 2**28  # bytes of a text
LONGEST_LINE = 2**12  # bytes of the name of a module or class
_HUGE = 2**62

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
_STORAGE = re.compile(r"torch\.(?:cuda\.|storage\.)?(\w*Storage)")
_REBUILD = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_TENSORS = {f"torch._utils.{name}" for name in _REBUILD}
_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
_CALLS = _TENSORS | {
    _FROM_TYPE,
    "_codecs.encode",
    "builtins.complex",
    "builtins.set",
    "collections.Counter",
    "collections.OrderedDict",
    "torch.Size",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.device",
    "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
}
_OTHER_TENSORS = {
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_qtensor": "quantized",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_meta_tensor_no_storage": "meta (without numbers)",
    "_rebuild_wrapper_subclass": "wrapped",
}


class UnsafePickleError(Exception):
    """The pickle asks for something that is not run, or for too much; the message says what."""


@dataclass(slots=True)
class _Value:
    """The stand-in for a value.

    size: what hashing or reading it takes. parts: of a tuple. content: an int, a text, the name of
    a class or function. captured: a tuple holds it, so it must not grow any more. depth: of tuples.
    """

    kind: str
    size: int = 1
    parts: tuple["_Value", ...] = ()
    content: Any = None
    captured: bool = False
    depth: int = 0


class _Bounded:
    """A stream that makes no room for what a pickle only claims to hold."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readline(self) -> bytes:
        return self._stream.readline(LONGEST_LINE)  # without its end it is refused

    def read(self, size: int) -> bytes:
        if size > LONGEST:
            raise ValueError("a value that is longer than any text of weights")
        return self._stream.read(size)


@dataclass
class Scan:
    """One file's pickles. Call it for each; then `stand_ins` are the classes to read as nothing.

    is_inert: whether a class may be replaced by a stand-in; anything else unknown is refused.
    most_bytes: that a storage of this key may have.
    """

    is_inert: Callable[[str], bool]
    most_bytes: Callable[[str], int]
    stand_ins: set[str] = field(default_factory=set)
    storages: dict[str, int] = field(default_factory=dict)
    _steps: int = 0
    _calls: int = 0
    _work: int = 0

    def __call__(self, stream: IO[bytes]) -> None:
        """Follow one pickle to its end; raises UnsafePickleError, or ValueError where broken."""
        stack: list[_Value | None] = []  # None is a mark
        memo: dict[int, _Value] = {}
        argument: Any
        for opcode, argument, _ in pickletools.genops(cast("IO[bytes]", _Bounded(stream))):
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise UnsafePickleError(f"has a pickle of more than {MOST_STEPS:,} steps")
            name = opcode.name
            if name in _ATOMS:
                stack.append(_Value(_ATOMS[name], content=argument))
            elif name in ("BINUNICODE", "SHORT_BINSTRING"):
                stack.append(_Value("text", 1 + len(argument) // 8, content=argument))
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name in ("BINPUT", "LONG_BINPUT"):
                if argument > MOST_STEPS:  # a reader in C makes room for all before
                    raise UnsafePickleError("numbers its values as no pickler does")
                memo[argument] = _top(stack)
            elif name == "GLOBAL":
                stack.append(self._global(argument))
            elif name in _EMPTY:
                stack.append(_Value(_EMPTY[name]))
            elif name == "MARK":
                stack.append(None)
            elif name == "TUPLE":
                stack.append(_tuple(_to_mark(stack)))
            elif name in _TUPLES:
                stack.append(_tuple([_pop(stack) for _ in range(_TUPLES[name])][::-1]))
            elif name in ("APPEND", "APPENDS"):
                items = _to_mark(stack) if name == "APPENDS" else [_pop(stack)]
                _grow(_top(stack), sum(item.size for item in items))
            elif name in ("SETITEM", "SETITEMS"):
                items = _to_mark(stack) if name == "SETITEMS" else [_pop(stack), _pop(stack)][::-1]
                keys = sum(key.size for key in items[::2])
                self._do(keys)
                _grow(_top(stack), keys)
            elif name == "BINPERSID":
                stack.append(self._storage(_pop(stack)))
            elif name in ("REDUCE", "NEWOBJ"):
                arguments = _pop(stack)
                stack.append(self._call(_pop(stack), arguments))
            elif name == "BUILD":
                state = _pop(stack)
                if _top(stack).kind == "object":
                    self._do(state.size)
                elif _top(stack).kind != "inert":
                    raise UnsafePickleError("changes a value in a way that weights do not need")
            elif name == "STOP":
                self._do(_pop(stack).size)
            elif name != "PROTO":
                raise UnsafePickleError(f"holds more than weights (pickle operation {name})")

    def _do(self, amount: int) -> None:
        self._work += amount
        if self._work > MOST_WORK:
            raise UnsafePickleError("nests values within values more than weights need")

    def _global(self, argument: str) -> _Value:
        module, _, name = argument.partition(" ")
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        if name in _OTHER_TENSORS and module == "torch._utils":
            raise UnsafePickleError(f"holds a {_OTHER_TENSORS[name]} tensor, which is not read")
        storage = _STORAGE.fullmatch(full)
        known = full in _CALLS or (storage is not None and storage[1] in STORAGES)
        if known or isinstance(
            getattr(torch, name, None) if module == "torch" else None, _CONSTANT
        ):
            return _Value("global", content=full)
        if not self.is_inert(full):
            raise UnsafePickleError(f"asks for {full}, and code inside weight files is never run")
        self.stand_ins.add(full)
        return _Value("stand-in")

    def _storage(self, pid: _Value) -> _Value:
        """A storage: ('storage', class, key, location, numbers, ...)."""
        parts = pid.parts
        match = _STORAGE.fullmatch(str(parts[1].content)) if len(parts) > 4 else None
        flat = all(part.kind in ("int", "text", "global", "other") for part in parts[:5])
        if match is None or match[1] not in STORAGES or not flat or parts[4].kind != "int":
            raise UnsafePickleError("refers to data in a way that is not known")
        key, item = str(parts[2].content), STORAGES[match[1]].itemsize
        count = parts[4].content
        if not 0 <= count * item <= self.most_bytes(key):
            raise ValueError(f"storage {key} is larger than its data")
        self.storages[key] = max(self.storages.get(key, 0), count * item)
        return _Value("storage", content=(count * item, item))

    def _call(self, function: _Value, arguments: _Value) -> _Value:
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise UnsafePickleError(f"makes more than {MOST_CALLS:,} objects")
        if function.kind == "stand-in":
            return _Value("inert")
        if function.kind != "global" or function.content not in _CALLS:
            raise UnsafePickleError("makes an object that is no weight")
        self._do(arguments.size)
        if function.content == _FROM_TYPE and len(arguments.parts) == 4:
            return self._call(arguments.parts[0], arguments.parts[2])
        if function.content in _TENSORS:
            _check_bounds(arguments.parts)
            return _Value("tensor")
        return _Value("tensor" if "torch" in function.content else "object")


_CONSTANT = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
_ATOMS = {"BININT": "int", "BININT1": "int", "BININT2": "int", "LONG1": "int", "BINFLOAT": "other",
          "NONE": "other", "NEWTRUE": "other", "NEWFALSE": "other"}  # fmt: skip
_EMPTY = {"EMPTY_TUPLE": "tuple", "EMPTY_LIST": "list", "EMPTY_DICT": "object",
          "EMPTY_SET": "object"}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _check_bounds(parts: tuple[_Value, ...]) -> None:
    """Raise ValueError for a tensor (storage, offset, size, stride, ...) outside of its storage."""
    if len(parts) < 4 or parts[0].kind != "storage" or parts[1].kind != "int":
        raise ValueError("a tensor without a storage")
    held, item = parts[0].content
    if len(parts) > 6 and parts[6].kind == "global":
        item = getattr(getattr(torch, parts[6].content.removeprefix("torch."), None), "itemsize", 1)
    sizes, strides = ([part.content for part in value.parts] for value in parts[2:4])
    whole = all(isinstance(number, int) and 0 <= number < _HUGE for number in (*sizes, *strides))
    if not whole or len(sizes) != len(strides) or parts[1].content < 0:
        raise ValueError("a tensor of an impossible shape")
    if math.prod(sizes) > 0:
        last = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if (parts[1].content + last + 1) * item > held:
            raise ValueError("a tensor that is larger than its data")


def _tuple(parts: list[_Value]) -> _Value:
    for part in parts:
        part.captured = True
    depth = 1 + max((part.depth for part in parts), default=0)
    if depth > MOST_DEPTH:  # hashing these would exhaust the stack
        raise UnsafePickleError("nests values within values more than weights need")
    size = min(1 + sum(part.size for part in parts), _HUGE)
    return _Value("tuple", size, tuple(parts), depth=depth)


def _grow(value: _Value, size: int) -> None:
    if value.kind not in ("list", "object"):
        raise UnsafePickleError("fills an object that is no plain list or dictionary")
    if value.captured:
        raise UnsafePickleError("holds a value that contains itself")
    value.size = min(value.size + size, _HUGE)


def _top(stack: list[_Value | None]) -> _Value:
    if not stack or stack[-1] is None:
        raise pickle.UnpicklingError("the pickle takes a value that is not there")
    return stack[-1]


def _pop(stack: list[_Value | None]) -> _Value:
    value = _top(stack)
    stack.pop()
    return value


def _to_mark(stack: list[_Value | None]) -> list[_Value]:
    items: list[_Value] = []
    while stack and (item := stack.pop()) is not None:
        items.append(item)
    return items[::-1]
