"""Pre-training as a user runs it: command, files that it leaves, and using them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, safe_open

from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.normalization import HALF
from cvgssl.encoders.pretrained import load_pretrained
from cvgssl.encoders.timm_import import timm

ROOT = Path(__file__).parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ["--arch", "test_resnet", "--image-size", "48", "--view-size", "32", "--batch-size", "8"]
SMALL += ["--epochs", "2", "--warmup-epochs", "1", "--mlp-dim", "32", "--out-dim", "16"]
SMALL += ["--save-freq", "1", "--keep", "1", "--monitor-every", "1"]
ONE_CROP = ["--nmb-crops", "1", "--min-scale-crops", "0.2", "--max-scale-crops", "1"]  # of four
SHALLOW = "vit_tiny_patch16_224,depth=0,embed_dim=16,num_heads=1"  # little for a compiler to do


@pytest.fixture(scope="module")
def run(
    steel: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory, python: str
) -> Path:
    folder = tmp_path_factory.mktemp("pretrain")
    words = ["pretrain", steel, *SMALL, "--teacher", f"test_vit,image_size=32={teacher_file}:0.5"]
    words += [
        "--bank",
        "2",
        "--bank-dir",
        folder / "bank",
        "--knn",
        "--guidance",
        "published",
        "--out",
        folder / "run",
    ]
    done = subprocess.run(
        [python, "-m", "cvgssl", *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    few = "WARNING: 10 steps are few from random weights; --epochs 120 makes 600 or more"
    for text in ("bank: 10 views of each picture", "test pictures are not used", "weight 0.5", few):
        assert text in done.stdout
    return folder / "run"


def test_doubts_about_going_on_from_weights(
    command: Command, steel: Path, teacher_file: Path
) -> None:
    words = ["--arch", "test_vit", "--pretrained", teacher_file, "--bank", "1", "--view-size", "32"]
    done = command(
        "pretrain", steel, *SMALL, *ONE_CROP, *words, "--teacher", f"test_vit={teacher_file}"
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING: 10 steps are few to go on from weights; --epochs 28 makes 140" in done.stdout
    assert (
        "WARNING: views of 32 px, where test_vit is for 160: small defects are lost" in done.stdout
    )


def test_files(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "backbone.safetensors", "checkpoint_0002.pth.tar", "config.yaml", "environment.json",
        "log.txt", "metrics.jsonl", "summary.json",
    }  # fmt: skip
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"teachers", "views", "self", "lr", "std", "rank", "knn"} <= rows[1].keys()
    parts = sum(rows[1][name] for name in ("teachers", "views", "self"))
    assert rows[1]["loss"] == pytest.approx(parts)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["steps"], summary["precision"]) == (10, "fp32")
    assert 0 < summary["guide_seconds"] < summary["seconds"]
    assert summary["processor_seconds"] > 0
    assert len(summary["teachers"][0]["sha256"]) == 64


def test_plain_timm_loads_the_backbone(run: Path) -> None:
    path = run / "backbone.safetensors"
    model = timm.create_model("test_resnet", num_classes=0, checkpoint_path=str(path)).eval()
    backbone = build_backbone("test_resnet", 32)
    report = load_pretrained(backbone, path)
    assert report.normalization == HALF
    pixels = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        ours = backbone.eval()(pixels)
        theirs = model((pixels / 255 - 0.5).expand(-1, 3, -1, -1) / 0.5)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["cvgssl"])["card"]
    assert card["image_size"] == 32
    assert card["teachers"][0]["arch"] == "test_vit"


def test_published_checkpoint(run: Path) -> None:
    content = torch.load(run / "checkpoint_0002.pth.tar", weights_only=True)
    assert {"epoch", "arch", "state_dict", "optimizer"} <= content.keys()
    assert content["epoch"] == 2
    names = content["state_dict"].keys()
    assert {"base_encoder.layer1.0.conv1.weight", "base_encoder.fc.0.weight"} <= names
    backbone = load_file(run / "backbone.safetensors")
    for name, value in backbone.items():
        assert torch.equal(content["state_dict"][f"base_encoder.{name}"], value)


def test_linear_takes_it_by_name_and_file(run: Path, steel: Path, command: Command) -> None:
    named = f"test_resnet={run / 'backbone.safetensors'}"
    words = ["--image-size", "32", "--shot", "2", "--num-draws", "1", "--epochs", "1"]
    done = command("linear", steel, "--pretrained", named, *words, "--out", "named")
    assert done.returncode == 0, done.stderr
    assert "tensors of test_resnet" in done.stdout
    done = command("linear", steel, "--pretrained", named, "--arch", "resnet18", *words)
    assert done.returncode == 2
    assert f"--pretrained {named}: names test_resnet, --arch is resnet18" in done.stderr


@pytest.mark.parametrize("file", ["checkpoint_0002.pth.tar", "backbone.safetensors"])
def test_the_published_few_shot_command_takes_it(
    run: Path, steel: Path, tmp_path: Path, file: str, python: str
) -> None:
    words = ["--data", steel, "--pretrained", run / file, "--arch", "test_resnet", "--image-size"]
    words += ["32", "--shot", "2", "--n", "1", "--epochs", "1", "--builder", "cgssl"]
    done = subprocess.run(
        [python, str(ROOT / "finetune_and_lincls.py"), *map(str, words)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "tensors of test_resnet" in done.stdout
    assert "left random" not in done.stdout


def test_a_finished_run_and_another_kind_of_run_are_not_resumed(
    run: Path, command: Command, tmp_path: Path
) -> None:
    done = command("pretrain", "--resume", run)
    assert done.returncode == 2
    assert "finished" in done.stderr
    done = command("pretrain", "--resume", run / "checkpoint_0002.pth.tar")
    assert "finished" in done.stderr
    done = command("pretrain", "--resume", tmp_path)
    assert "not a run folder" in done.stderr


def test_published_train_command(
    steel: Path, teacher_file: Path, tmp_path: Path, python: str
) -> None:
    words = f"""--data {steel} --arch test_resnet --epochs 2 --start-epoch 0 --batch-size 8
        --workers 1 --lr 0.1 --optimizer sgd --momentum 0.9 --weight-decay 1e-6
        --warmup-epochs 1 --print-freq 2 --gpu 0 --save {tmp_path}/new/deeper --save-freq 1
        --seed 1 --out-dim 16 --mlp-dim 32 --t1 0.5 --multi-crop True --nmb-crops 1 1
        --size-crops 32 24 --min-scale-crops 0.2 0.1 --max-scale-crops 1.0 0.5
        --teacher test_vit,image_size=32={teacher_file} --image-size 48 --view-size 32""".split()
    train = [python, str(ROOT / "train.py")]
    done = subprocess.run([*train, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "views of 32, 32, 24 px" in done.stdout
    assert "(teachers " in done.stdout, "guided as published"
    folder = tmp_path / "new" / "deeper"
    assert (folder / "checkpoint_0001.pth.tar").exists()
    (folder / "summary.json").unlink()
    last = str(folder / "checkpoint_0002.pth.tar")
    done = subprocess.run([*train, "--resume", last], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_published_train_script_by_itself(tmp_path: Path) -> None:
    """A mistake is told before torch is imported, so a real start costs little."""
    words = [sys.executable, str(ROOT / "train.py"), "--data", ".", "--optimizer", "rmsprop"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "--optimizer" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--teacher", "RN5O=x.pt"], "--teacher RN5O"),
        (["--builder", "mocov3", "--bank", "4"], "--bank"),
        (["--batch-size", "64"], "has 42 pictures"),
        (["--arch", "test_vit", "--size-crops", "32", "24", "24", "24"], "multiples of 16"),
        (
            ["--arch", "vit_tiny_patch16_224,depth=1", "--size-crops", "32", "16", "16", "16"],
            "dynamic_img_size",
        ),
        (["--optimizer", "lamb"], "--optimizer lamb"),
        (["--pretrained", "nowhere.pth"], "nowhere.pth"),
        (["--batch-size", "9", "--accumulate", "2"], "--accumulate 2"),
    ],
)
def test_mistakes(
    steel: Path, command: Command, options: list[str], message: str, teacher_file: Path
) -> None:
    named = [] if {"--teacher", "--builder"} & set(options) else ["--teacher"]
    named += [f"test_vit={teacher_file}"] if named else []
    done = command("pretrain", steel, *SMALL, *named, "--out", "run", *options)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_loss_that_is_not_finite_stops_with_what_was_saved(
    steel: Path, command: Command, tmp_path: Path
) -> None:
    words = ["pretrain", steel, *SMALL, *ONE_CROP, "--builder", "mocov3", "--epochs", "30"]
    done = command(*words, "--lr", "1e25", "--warmup-epochs", "10", "--out", "run")
    assert done.returncode == 2
    assert "the loss is NaN or infinite" in done.stderr
    for file in (tmp_path / "run").glob("*.pth.tar"):
        state = torch.load(file, weights_only=True)["state_dict"]
        assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())


@pytest.mark.slow
def test_what_cannot_be_compiled_is_an_error(
    steel: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no processes that compile
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "nothing compiled before"))
    words = [
        *SMALL,
        *ONE_CROP,
        "--arch",
        SHALLOW,
        "--builder",
        "mocov3",
        "--compile",
        "--out",
        "run",
    ]
    done = command("pretrain", steel, *words)
    assert done.returncode == 2
    assert "--compile: torch cannot compile" in done.stderr
    assert "Traceback" not in done.stderr


def test_unlabelled_folder_without_a_split(
    steel: Path, command: Command, tmp_path: Path, teacher_file: Path
) -> None:
    """Any folder of pictures does; a run on it says what it means for later figures."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted((steel / "train").rglob("*.bmp"))):
        shutil.copy(path, flat / f"{number}.bmp")
    words = [
        "--teacher",
        f"test_vit,image_size=32={teacher_file}",
        "--epochs",
        "1",
        "--warmup-epochs",
        "0",
    ]
    done = command("pretrain", "flat", *SMALL, *ONE_CROP, *words, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "transductive" in done.stdout
    words = ["--arch", "test_resnet", "--pretrained", "run/backbone.safetensors", "--shot", "2"]
    done = command(
        "linear", steel, *words, "--image-size", "32", "--num-draws", "2", "--epochs", "1"
    )
    assert done.returncode == 0, done.stderr
    assert "transductive if pre-training saw these test pictures" in done.stdout


def test_views_are_drawn_without_training(steel: Path, command: Command, tmp_path: Path) -> None:
    done = command("pretrain", steel, *SMALL, "--show-views", "views.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "views.png").read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "logs").exists()
