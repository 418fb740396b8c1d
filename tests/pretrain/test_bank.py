"""The bank holds what the teachers say about the very views that training draws."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from cvgssl.encoders.loading import load_encoders
from cvgssl.pretrain import bank as bank_module
from cvgssl.pretrain.bank import Bank, BankBuild, BankKey, bank_size, build_bank
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import PretrainPictures, load_pretrain_pictures
from cvgssl.pretrain.views import DrawnViews, Views
from cvgssl.runtime.array_files import write_array
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.lock import claimed

VERSIONS = 2


@pytest.fixture
def config(steel: Path) -> PretrainConfig:
    return PretrainConfig(
        data=steel,
        image_size=48,
        view_size=40,
        nmb_crops=(1, 1),
        size_crops=(40, 32),
        min_scale_crops=(0.2, 0.1),
        max_scale_crops=(1.0, 0.5),
        batch_size=8,
        bank=VERSIONS,
    )


@pytest.fixture
def data(config: PretrainConfig) -> PretrainPictures:
    return load_pretrain_pictures(config, Accelerator(cpu=True))


@pytest.fixture
def key(config: PretrainConfig, teacher_file: Path) -> BankKey:
    (teacher,) = load_encoders([f"test_vit,image_size=48={teacher_file}"])
    return BankKey(teacher, Views(config.recipes, config.geometry, 7, VERSIONS), VERSIONS)


def build(key: BankKey, data: PretrainPictures, place: Path) -> Bank:
    return build_bank(BankBuild([key], data, place, 8, Accelerator(cpu=True)))


def files(place: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_module, "BLOCK", 16)


def test_by_openvino_it_is_another_bank_of_the_same_numbers(
    key: BankKey, data: PretrainPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))
    by_torch, folder = build(key, data, tmp_path).mean(0), key.folder(tmp_path)
    key.teacher.choose_runtime("openvino", "fp32")
    assert key.folder(tmp_path) != folder
    by_openvino = build(key, data, tmp_path).mean(0)
    assert (by_openvino - by_torch).abs().max() < 1e-3 * by_torch.abs().max(), "float16 on disk"


@pytest.mark.usefixtures("small_blocks")
def test_it_gives_the_teachers_embeddings_of_the_same_views(
    key: BankKey, data: PretrainPictures, tmp_path: Path
) -> None:
    bank = build(key, data, tmp_path)
    rows = torch.tensor([41, 3, 17, 16, 3])
    for epoch in (0, 5, 11):
        numbers = key.views.numbers(data.keys[rows], epoch)
        pixels = key.views.stored(data, rows, torch.device("cpu"))
        views = DrawnViews(rows, data.keys[rows], numbers, pixels)
        (seen,) = key.views.embed([key.teacher], views)
        seen = seen.transpose(0, 1)
        stored = bank.embeddings(0, rows, numbers)
        assert stored.shape == seen.shape == (5, 3, 64)
        torch.testing.assert_close(stored, seen, atol=2e-3, rtol=2e-3)
        assert (stored[0] - stored[2]).abs().max() > 0.05, "pictures differ"
    drawn = {tuple(key.views.numbers(data.keys[:1], epoch)[0].tolist()) for epoch in range(40)}
    assert len(drawn) == VERSIONS**3, "views of different kinds are combined freely"


@pytest.mark.usefixtures("small_blocks")
def test_only_what_is_missing_or_damaged_is_computed(
    key: BankKey, data: PretrainPictures, tmp_path: Path
) -> None:
    rows, numbers = torch.arange(42), torch.zeros(42, 3, dtype=torch.int64)
    before = build(key, data, tmp_path).embeddings(0, rows, numbers)
    written = files(tmp_path)
    assert len(written) == 3
    assert sum(path.stat().st_size for path in written) == bank_size([key], 42) + 3 * (128 + 12)
    damaged, gone, kept = sorted(written)
    damaged.write_bytes(damaged.read_bytes()[:1000])
    gone.unlink()
    again = build(key, data, tmp_path).embeddings(0, rows, numbers)
    assert torch.equal(before, again)
    now = files(tmp_path)
    assert now.keys() == written.keys()
    assert now[kept] == written[kept]
    assert now[damaged] != written[damaged]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dies", [False, True])
def test_a_block_that_another_process_works_on_is_awaited(
    dies: bool,
    key: BankKey,
    data: PretrainPictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bank_module, "LOOK_EVERY", 0.0)
    before = build(key, data, tmp_path).mean(0)
    written = sorted(files(tmp_path))
    content, mine = written[1].read_bytes(), ExitStack()
    for path in written:
        path.unlink()
    mine.enter_context(claimed(written[1]))
    waits = 0

    def look() -> None:
        """It comes to its end while this process waits, with its block or without."""
        nonlocal waits
        if written[0].exists() and written[2].exists():
            waits += 1
            if waits == 3:
                if not dies:
                    written[1].write_bytes(content)
                    os.utime(written[1], (1, 1))
                mine.close()

    again = build_bank(BankBuild([key], data, tmp_path, 8, Accelerator(cpu=True), look))
    assert torch.equal(again.mean(0), before) and waits >= 3
    assert sorted(files(tmp_path)) == written, "no locks are left"
    assert (written[1].stat().st_mtime == 1) is not dies


# builds the bank with small blocks and says how many it computed itself; a third word: is killed in
# the middle of its second
PROCESS = """
import os, signal, sys
from pathlib import Path
from accelerate import Accelerator
from cvgssl.encoders.loading import load_encoders
from cvgssl.pretrain import bank
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import load_pretrain_pictures
from cvgssl.pretrain.views import Views
data, teacher, place, *killed = sys.argv[1:]
bank.BLOCK, bank.LOOK_EVERY = 4, 0.01
config = PretrainConfig(data=Path(data), image_size=48, view_size=32, nmb_crops=(1,),
    min_scale_crops=(0.2,), max_scale_crops=(1.0,), batch_size=8)
(encoder,) = load_encoders([teacher])
key = bank.BankKey(encoder, Views(config.recipes, config.geometry, 7, 2), 2)
passes = 0
def check():
    global passes
    passes += 1
    if killed and passes == 4:
        os.kill(os.getpid(), signal.SIGKILL)
computed, compute = 0, bank._build_block
def counted(*words):
    global computed
    compute(*words)
    computed += 1
bank._build_block = counted
pictures = load_pretrain_pictures(config, Accelerator(cpu=True))
bank.build_bank(bank.BankBuild([key], pictures, Path(place), 8, Accelerator(cpu=True), check))
print(computed)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_four_processes_of_which_one_is_killed_build_the_bank_of_one(
    steel: Path, teacher_file: Path, tmp_path: Path, python: str
) -> None:
    def start(place: str, *killed: str) -> "subprocess.Popen[str]":
        words = [str(steel), f"test_vit,image_size=32={teacher_file}", str(tmp_path / place)]
        program = [python, "-c", PROCESS, *words, *killed]
        return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)

    killed = start("four", "killed")
    assert killed.wait() == -signal.SIGKILL
    every = [*(start("four") for _ in range(3)), start("one")]
    told = [int(process.communicate()[0]) for process in every]
    assert told[3] == 11
    assert sum(told[:3]) == 10, "each block once, and that of the killed one not again"
    one, four = (
        {path.name: path.read_bytes() for path in (tmp_path / place).rglob("[!.]*.npy")}
        for place in ("one", "four")
    )
    assert four == one


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _narrow(path: Path) -> None:
    write_array(path, np.load(path)[:, :-1])


def _widen_numbers(path: Path) -> None:
    write_array(path, np.load(path).astype(np.float32))


def _unseal(path: Path) -> None:
    np.save(path, np.load(path))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("damage", [_flip, _narrow, _widen_numbers, _unseal])
def test_a_damaged_block_is_noticed(
    damage: Callable[[Path], None],
    key: BankKey,
    data: PretrainPictures,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    build(key, data, tmp_path)
    assert not caplog.text
    path = sorted(files(tmp_path))[1]
    content = path.read_bytes()
    path.with_name(f".{path.name}.1.npy").write_bytes(content[:500])  # of a killed process
    damage(path)
    build(key, data, tmp_path)
    assert "damaged blocks of a bank, computed again: 1" in caplog.text
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_is_one_line(
    key: BankKey, data: PretrainPictures, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"banks cannot be kept there .*--bank-dir.*CVGSSL_CACHE"):
        build(key, data, tmp_path / "file" / "banks")


@pytest.mark.usefixtures("small_blocks")
def test_pictures_added_at_the_end_leave_earlier_blocks_valid(
    key: BankKey, data: PretrainPictures, tmp_path: Path
) -> None:
    first = PretrainPictures(
        data.root, data.pictures.part(0, 32), data.keys[:32], data.folders[:32], data.test_left_out
    )
    build(key, first, tmp_path)
    written = files(tmp_path)
    build(key, data, tmp_path)
    now = files(tmp_path)
    assert len(now) == 3
    assert all(now[path] == time for path, time in written.items())


def test_other_views_teachers_or_pictures_have_another_place(
    key: BankKey, data: PretrainPictures, config: PretrainConfig, tmp_path: Path
) -> None:
    places = {key.folder(tmp_path)}
    places.add(BankKey(key.teacher, key.views, VERSIONS + 1).folder(tmp_path))
    places.add(
        BankKey(key.teacher, Views(config.recipes, config.geometry, 8), VERSIONS).folder(tmp_path)
    )
    places.add(
        BankKey(key.teacher, Views(config.recipes[:2], config.geometry, 7), VERSIONS).folder(
            tmp_path
        )
    )
    (random,) = load_encoders(["test_vit=random"])
    places.add(BankKey(random, key.views, VERSIONS).folder(tmp_path))
    assert len(places) == 5
    build(key, data, tmp_path)
    turned = data.pictures.pixels[:, :, ::-1].copy()
    pictures = type(data.pictures)(turned, tuple(reversed(data.pictures.digests)))
    build(key, PretrainPictures(data.root, pictures, data.keys, data.folders, True), tmp_path)
    assert len(files(tmp_path)) == 2


def test_what_float16_cannot_hold_is_an_error(
    key: BankKey, data: PretrainPictures, tmp_path: Path
) -> None:
    with torch.no_grad():
        key.teacher.backbone.body.norm.weight.fill_(1e6)
    with pytest.raises(UserError, match="--bank off"):
        build(key, data, tmp_path)
    assert not files(tmp_path)


def test_a_full_disk_is_found_before_anything_is_computed(
    key: BankKey, data: PretrainPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(bank_module.shutil.disk_usage(tmp_path))(10**6, 10**6, 10)
    monkeypatch.setattr(bank_module.shutil, "disk_usage", lambda _place: usage)
    with pytest.raises(
        UserError, match=r"--bank 2: needs .* KiB, .* has 10 bytes free.*--bank-dir"
    ):
        build(key, data, tmp_path)


def test_blocks_are_plain_arrays(key: BankKey, data: PretrainPictures, tmp_path: Path) -> None:
    build(key, data, tmp_path)
    (path,) = files(tmp_path)
    block = np.load(path, allow_pickle=False)
    assert block.dtype == np.float16
    assert block.shape == (42, VERSIONS * 3, 64)
