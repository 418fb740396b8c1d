"""Weight files made to do harm: each is refused in one line, with little memory and time."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cvgssl.encoders.backbone_file import read_backbone
from cvgssl.encoders.containers import read_contents
from cvgssl.encoders.preprocessing import check_size
from cvgssl.encoders.weights_folder import find_weights
from cvgssl.runtime.errors import UserError

# an address space of 1 GiB and 10 seconds of processor time more than it has now
READ = """
import resource, sys
from pathlib import Path
from cvgssl.encoders.backbone_file import read_backbone
from cvgssl.runtime.errors import UserError
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
spent = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) + 10
resource.setrlimit(resource.RLIMIT_CPU, (spent, spent))
for name in sys.argv[1:]:
    try:
        read_backbone(Path(name))
        print("read")
    except UserError as error:
        print(error)
"""
GIB = 2**30


def saved(value: Any, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def zipped(
    program: bytes, data: bytes = b"", script: bool = False, compress: bool = False
) -> bytes:
    buffer = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", how) as archive:
        archive.writestr("m/data.pkl", program)
        archive.writestr("m/data/0", data)
        archive.writestr("m/version", b"3\n")
        if script:
            archive.writestr("m/constants.pkl", b"\x80\x02).")
    return buffer.getvalue()


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def integer(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def storage(numbers: int, key: str = "0") -> bytes:
    kind = b"ctorch\nFloatStorage\n"
    return b"(" + text("storage") + kind + text(key) + text("cpu") + integer(numbers) + b"tQ"


def tensor(numbers: int, size: int, stride: int, offset: int = 0) -> bytes:
    """The program of {"w": a tensor of one axis}."""
    shape = integer(size) + b"\x85" + integer(stride) + b"\x85"
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(numbers) + integer(offset)
    return b"\x80\x02}" + text("w") + call + shape + hooks + b"tRs."


def nested_key() -> bytes:
    """{(((...), (...)), ((...), (...))): None}, whose hash takes 2**45 steps."""
    program = b"\x80\x02})q\x00"
    for _ in range(45):
        program += b"h\x00\x86q\x00"
    return program + b"Ns."


def script_in_itself() -> bytes:
    made = b"c__torch__\nM\n)\x81q\x00"
    return b"\x80\x02" + made + b"}" + text("a") + b"h\x00s" + b"b."


def script_of_copies() -> bytes:
    """Modules of two references each to the one before: 2**40 modules."""
    program = b"\x80\x02c__torch__\nM\n)\x81q\x00"
    for _ in range(40):
        inside = b"}(" + text("a") + b"h\x00" + text("b") + b"h\x00u"
        program += b"c__torch__\nM\n)\x81" + inside + b"bq\x00"
    return program + b"."


def overlapping() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", tensor(1000, 1000, 1))
        archive.writestr("m/data/0", bytes(4000))
        for number in range(1, 9):
            copy = zipfile.ZipInfo(f"m/data/{number}")
            first = archive.getinfo("m/data/0")
            copy.header_offset, copy.CRC = first.header_offset, first.CRC
            copy.file_size = copy.compress_size = first.file_size
            archive.filelist.append(copy)
    return buffer.getvalue()


def before_an_archive() -> bytes:
    """Python's reader takes the second archive, torch's may take another."""
    return saved({"w": torch.ones(2)}) + zipped(tensor(1, 1, 1), bytes(4))


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "compressed": (lambda: zipped(tensor(10**7, 10**7, 1), bytes(4 * 10**7), compress=True),
                   "compressed archive"),
    "compressed script": (lambda: zipped(tensor(10**7, 10**7, 1), bytes(4 * 10**7), True, True),
                          "compressed archive"),
    "overlapping": (overlapping, "overlap"),
    "before an archive": (before_an_archive, "overlap"),
    "expanded": (lambda: saved({"w": torch.ones(1).expand(4 * GIB)}), "unfolds"),
    "expanded in the old format": (
        lambda: saved({"w": torch.ones(1).expand(4 * GIB)}, legacy=True), "unfolds"),
    "expanded script": (lambda: zipped(script_of_tensor(), bytes(4), True), "unfolds"),
    "many views": (lambda: saved({str(n): W.view(-1) for n in range(900)}), "unfolds"),
    "outside of its storage": (lambda: zipped(tensor(2, GIB, 1), bytes(8)), "larger than its data"),
    "behind its storage": (lambda: zipped(tensor(2, 2, 1, GIB), bytes(8)), "larger than its data"),
    "storage without data": (lambda: zipped(tensor(GIB, 1, 1), bytes(4)), "larger than its data"),
    "negative storage": (lambda: zipped(tensor(-1, 1, 1), bytes(4)), "larger than its data"),
    "nested key": (lambda: zipped(nested_key()), "nests values"),
    "deep key": (lambda: zipped(b"\x80\x02})" + b"\x85" * 400_000 + b"Ns."), "nests values"),
    "nested key in the old format": (lambda: nested_key(), "nests values"),
    "nested key in a script": (lambda: zipped(nested_key(), script=True), "nests values"),
    "bytes": (lambda: zipped(b"\x80\x02c__builtin__\nbytearray\n" + integer(5 * GIB) + b"\x85R."),
              "asks for builtins.bytearray"),
    "memo": (lambda: zipped(b"\x80\x02}r\xff\xff\xff\x7f.", script=True), "numbers its values"),
    "text that is not there": (
        lambda: b"\x80\x02X" + b"\xff\xff\xff\xff" + bytes(99), "longer than any text"),
    "name without end": (
        lambda: zipped(b"\x80\x02c" + b"a" * 10**6 + b"\nb\n."), "no newline found"),
    "many sets": (lambda: b"\x80\x02" + b"\x8f" * 600_000, "more than 500,000 steps"),
    "many tensors": (lambda: saved({str(n): E for n in range(20_001)}), "holds 20,001 tensors"),
    "script in itself": (lambda: zipped(script_in_itself(), script=True), "cannot be read"),
    "script of copies": (lambda: zipped(script_of_copies(), script=True), "without end"),
    "sparse": (lambda: saved({"w": torch.eye(3).to_sparse()}), "a sparse tensor"),
    "meta": (lambda: saved({"w": torch.empty(3, device="meta")}), "a meta (without numbers)"),
    "quantized": (lambda: saved({"w": torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8)}),
                  "a quantized tensor"),
    "nested": (lambda: saved({"w": torch.nested.nested_tensor([torch.ones(2)])}),
               "a nested tensor"),
    "4 bits": (lambda: saved({"w": torch.zeros(2, dtype=torch.uint8).view(FOUR_BITS)}),
               "float4_e2m1fn_x2 numbers"),
}  # fmt: skip
W, E, FOUR_BITS = (
    torch.ones(100_000),
    torch.ones(0),
    getattr(torch, "float4_e2m1fn_x2", torch.quint4x2),
)


def script_of_tensor() -> bytes:
    made = b"\x80\x02c__torch__\nM\n)\x81"
    return made + tensor(1, 4 * GIB, 0)[2:-1] + b"b."


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory, python: str) -> dict[str, str]:
    """What reading each file says, all in one process of little memory."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, (make, _) in enumerate(HOSTILE.values()):
        (folder / f"{number}.pt").write_bytes(make())
    names = [str(folder / f"{number}.pt") for number in range(len(HOSTILE))]
    done = subprocess.run([python, "-c", READ, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(HOSTILE, done.stdout.splitlines(), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as on Linux")
@pytest.mark.parametrize("name", HOSTILE)
def test_is_refused_in_a_line_that_names_the_file(messages: dict[str, str], name: str) -> None:
    message = messages[name]
    assert HOSTILE[name][1] in message
    assert message.startswith("/") and ".pt" in message and len(message) < 400


@pytest.mark.parametrize("legacy", [True, False])
def test_a_dictionary_that_contains_itself_is_read_once(tmp_path: Path, legacy: bool) -> None:
    tree: dict[str, Any] = {"conv1.weight": torch.ones(2)}
    tree["state_dict"] = tree["model"] = tree
    (tmp_path / "w.pt").write_bytes(saved(tree, legacy))
    assert list(read_backbone(tmp_path / "w.pt").weights) == ["conv1.weight"]


def test_numbers_of_eight_bits_become_float32(tmp_path: Path) -> None:
    kinds = (torch.float8_e4m3fn, torch.float8_e5m2)
    path = tmp_path / "w.pt"
    path.write_bytes(saved({str(kind): torch.tensor([0.5, -2]).to(kind) for kind in kinds}))
    for value in read_contents(path).tree.values():
        assert torch.equal(value, torch.tensor([0.5, -2]))


def test_tied_weights_and_views_are_read(tmp_path: Path) -> None:
    shared = torch.arange(12.0).view(3, 4)
    tree = {"a": shared, "b": shared, "t": shared.t(), "row": shared[1], "wide": W[:1].expand(3, 5)}
    path = tmp_path / "w.pt"
    for legacy in (True, False):
        path.write_bytes(saved(tree, legacy))
        read = read_contents(path).tree
        assert all(torch.equal(read[name], value) for name, value in tree.items())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for path in (tmp_path / "pipe.pt", Path("/dev/zero")):
        with pytest.raises(UserError, match="no regular file"):
            read_contents(path)
    with pytest.raises(UserError, match="is a folder"):
        read_contents(tmp_path)


def test_pickles_of_other_things_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(pickle.dumps({"w": [1, 2]}, protocol=5))
    with pytest.raises(UserError, match=r"w\.pt: refused: it holds more than weights"):
        read_contents(path)


def test_positions_of_another_shape_say_no_size() -> None:
    patches = {"visual.conv1.weight": torch.zeros(4, 3, 16, 16)}
    for shape in ((), (5,), (1, 1, 5, 4)):
        odd = {"visual.positional_embedding": torch.zeros(shape)} | patches
        check_size(224, odd)
        check_size(224, {"visual.attnpool.positional_embedding": torch.zeros(shape)})
    with pytest.raises(UserError, match="its position embedding is for 32 px"):
        check_size(224, {"visual.positional_embedding": torch.zeros(5, 4)} | patches)


def test_an_empty_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Files of /proc have no size, and reading some of them waits for ever."""
    path = tmp_path / "weights.pt"
    path.write_bytes(b"")
    for read in (find_weights, read_contents):
        with pytest.raises(UserError, match="the file is empty; copy or download it again"):
            read(path)
