"""Embedding a folder: the right numbers, computed once, learned from train pictures alone."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cvgssl.adapt.draws import draw
from cvgssl.adapt.model_file import ModelCard, save_model
from cvgssl.adapt.network import Recognizer
from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.encoders.normalization import HALF
from cvgssl.encoders.timm_import import timm
from cvgssl.features import feature_store
from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed, embed_all
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable
from cvgssl.images.geometry import Geometry
from cvgssl.images.reader import read_picture
from cvgssl.images.scan import load_dataset
from cvgssl.images.splits import write_split
from cvgssl.pretrain.checkpoint import backbone_facts, save_backbone
from cvgssl.runtime.errors import UserError


@pytest.fixture
def data(steel: Path, tmp_path: Path) -> Path:
    """A copy of the pictures that a test may change."""
    return Path(shutil.copytree(steel, tmp_path / "data"))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "BLOCK", 8)


def options(data: Path, file: Path | None, /, **more: Any) -> EmbedConfig:
    named = {"encoder": (f"test_vit={file}",)} if file else {}
    return EmbedConfig(
        **({"data": data, "image_size": 32, "batch_size": 8, "runtime": "torch"} | named | more)
    )


def row(table: FeatureTable, name: str) -> NDArray[np.float32]:
    return table.values[table.names.index(name)]


@torch.inference_mode()
def test_the_numbers_of_the_network(steel: Path, teacher_file: Path) -> None:
    """timm's model on a picture that Pillow resized and NumPy normalised."""
    table = embed(options(steel, teacher_file, image_size=None))
    model = timm.create_model("test_vit", num_classes=0, checkpoint_path=str(teacher_file)).eval()
    side = model.pretrained_cfg["input_size"][-1]
    (about,) = table.about["encoders"]  # a file without a classifier: ImageNet's are assumed
    mean, std = (np.array(about["encoder"][name])[:, None, None] for name in ("mean", "std"))
    assert mean[0] == 0.485
    for name in (table.names[0], table.names[17], table.names[-1]):
        image = (
            Image.open(steel / name).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        )
        pixels = (np.asarray(image).transpose(2, 0, 1) / 255 - mean) / std
        wanted = model(torch.from_numpy(pixels[None].astype(np.float32)))[0]
        np.testing.assert_allclose(row(table, name), wanted.numpy(), atol=2e-5, rtol=1e-4)
    assert table.values.shape == (60, 64) and table.values.dtype == np.float32


def test_names_labels_and_splits_are_those_of_fine_tuning(steel: Path, teacher_file: Path) -> None:
    table, dataset = embed(options(steel, teacher_file)), load_dataset(steel)
    assert draw(table.dataset(), 2, 3, 5).supports == draw(dataset, 2, 3, 5).supports
    assert [table.classes[label] for label in table.labels] == [
        Path(name).parent.name for name in table.names
    ]
    assert table.splits == tuple(name.split("/")[0] for name in table.names)
    assert table.about["data"] == str(steel.resolve()) and table.about["encoder"] == "test_vit"
    (facts,) = table.about["encoders"]
    assert facts["file"] == teacher_file.name and len(facts["encoder"]["sha256"]) == 64


def test_classes_unlabelled_pictures_and_lists(data: Path, teacher_file: Path) -> None:
    whole = embed(options(data, teacher_file))
    classes = embed(options(data / "train", teacher_file, test_fraction=0.4, seed=3))
    assert len(classes) == 42 and 0 < classes.splits.count("test") < 21
    assert set(classes.classes) == set(whole.classes)
    write_split(load_dataset(data), data / "list.csv")
    listed = embed(options(data / "list.csv", teacher_file))
    assert listed.names == whole.names and np.array_equal(listed.values, whole.values)
    folder = data / "train" / whole.classes[0]
    plain = embed(options(folder, teacher_file))
    assert plain.labels.tolist() == [-1] * 7 and plain.classes == ()
    assert set(plain.splits) == {"train"} and "/" not in plain.names[0]
    unlabelled = embed(options(data, teacher_file, class_folders=False))
    assert set(unlabelled.labels) == {-1} and set(unlabelled.names) == set(whole.names)
    assert unlabelled.splits.count("test") == 18
    assert np.array_equal(row(unlabelled, whole.names[-1]), whole.values[-1])


def test_each_picture_once(data: Path, teacher_file: Path) -> None:
    config = options(data, teacher_file)
    first = embed_all(config)
    before = first.table
    assert first.computed == 60 and embed_all(config).computed == 0
    old, new = data / before.names[0], data / "test" / Path(before.names[0]).parent.name / "n.png"
    shutil.move(old, new)
    moved = embed_all(config)
    after = moved.table
    assert moved.computed == 0, "found by content"
    assert np.array_equal(row(after, new.relative_to(data).as_posix()), before.values[0])
    shutil.copy(data / before.names[1], data / before.names[2])
    again = embed_all(config)
    copied = again.table
    assert again.computed == 0
    assert np.array_equal(row(copied, before.names[1]), row(copied, before.names[2]))
    Image.fromarray(255 - read_picture(new)).save(new)
    assert embed_all(config).computed == 1, "an edited picture"
    assert embed_all(options(data, teacher_file, batch_size=3)).computed == 0
    for change in ({"flips": "both"}, {"pooling": "mean"}, {"resize": "pad"}, {"image_size": 48}):
        assert embed_all(options(data, teacher_file, **change)).computed > 50, change


def test_other_weights_are_another_encoder(steel: Path, teacher_file: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = Path(shutil.copy(teacher_file, tmp_path / "w.safetensors"))
    before = embed_all(options(steel, weights)).table
    changed = load_file(weights)
    changed["norm.bias"] += 1
    save_file(changed, weights)
    again = embed_all(options(steel, weights))
    after = again.table
    assert again.computed == 60
    np.testing.assert_allclose(after.values, before.values + 1, atol=1e-4)


@pytest.mark.usefixtures("small_blocks")
def test_unreadable_pictures(data: Path, teacher_file: Path) -> None:
    names = sorted(path.relative_to(data) for path in data.rglob("*/*/*.*"))
    bad = [names[33], names[-1]]
    for name in bad:
        (data / name).write_bytes((data / name).read_bytes()[:60])
    with pytest.raises(UserError) as caught:
        embed(options(data, teacher_file))
    text = str(caught.value)
    assert [str(data / name) in text for name in bad] == [True, True], text
    assert "2 unreadable; repair them" in text
    rest = embed_all(options(data, teacher_file, skip_corrupt=True))
    table = rest.table
    assert rest.skipped == 2 and len(table) == 58
    assert 0 < rest.computed < 58, "what was embedded before the first bad one is kept"
    assert not {name.as_posix() for name in bad} & set(table.names)
    for path in (data / "train" / table.classes[0]).iterdir():
        path.write_bytes(b"")
    for path in (data / "test" / table.classes[0]).iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=f"no readable picture of {table.classes[0]}"):
        embed(options(data, teacher_file, skip_corrupt=True))


def test_dark_pictures_are_told_in_every_call(
    tmp_path: Path, teacher_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        samples = np.random.default_rng(number).integers(0, 4000, (40, 40)).astype(np.uint16)
        (tmp_path / "deep").mkdir(exist_ok=True)
        Image.fromarray(samples).save(tmp_path / "deep" / f"{number}.tif")
    told = []
    for _ in range(2):
        caplog.clear()
        embed(options(tmp_path / "deep", teacher_file))
        told.append([text for text in caplog.messages if "--bit-depth 12" in text])
    assert len(told[0]) == 1 and told[0] == told[1], "computed or from the cache"


def test_gray_beside_colour(data: Path, teacher_file: Path) -> None:
    before = embed(options(data, teacher_file))
    picture = data / before.names[1]
    colour = np.repeat(read_picture(picture)[..., None], 3, axis=2)
    colour[..., 2] = 255 - colour[..., 2]
    Image.fromarray(colour).save(picture)
    for block in (data.parent / "cache").rglob("*/*.npy"):
        block.unlink()
    after = embed(options(data, teacher_file))
    np.testing.assert_allclose(after.values[[0, 2]], before.values[[0, 2]], atol=1e-5)
    assert np.abs(after.values[1] - before.values[1]).max() > 0.01


def test_averages_of_looks(steel: Path, teacher_file: Path, tmp_path: Path) -> None:
    """Flips of the file's picture, embedded one by one, have the mean that --flips gives."""
    turned = []
    for number, turn in enumerate((lambda x: x, np.fliplr, np.flipud, lambda x: x[::-1, ::-1])):
        folder = tmp_path / str(number)
        for path in sorted((steel / "test").rglob("*.*"))[:3]:
            folder.mkdir(exist_ok=True)
            Image.fromarray(turn(read_picture(path))).save(folder / f"{path.stem}.png")
        turned.append(embed(options(folder, teacher_file, image_size=64)).values)
    mean = embed(options(tmp_path / "0", teacher_file, image_size=64, flips="both")).values
    np.testing.assert_allclose(mean, np.mean(turned, axis=0), atol=2e-5)
    crops = options(tmp_path / "0", teacher_file, image_size=64, crops=4)
    one, other = embed(crops).values, embed(options(tmp_path / "0", teacher_file, crops=4)).values
    assert np.abs(one - mean).max() > 1e-3 and np.abs(one - other).max() > 1e-3
    assert "4 crops" in embed(crops).about["encoder"]


def test_several_encoders(steel: Path, teacher_file: Path) -> None:
    vit, network = f"test_vit={teacher_file}", INSTALLED
    alone = [
        embed(options(steel, None, encoder=(name,), image_size=32)).values
        for name in (vit, network)
    ]
    both = embed(options(steel, None, encoder=(vit + ":3", network)))
    assert both.blocks == [(alone[0].shape[1], 3.0), (alone[1].shape[1], 1.0)]
    assert np.array_equal(both.values, np.concatenate(alone, axis=1)), "as the encoders give them"
    parts = [scaled(one) * weight**0.5 for one, weight in zip(alone, (0.75, 0.25), strict=True)]
    np.testing.assert_allclose(standardized(both), np.concatenate(parts, axis=1), atol=2e-4)


def test_layers_and_ways_of_pooling_weigh_the_same(steel: Path, teacher_file: Path) -> None:
    alone = [
        embed(options(steel, teacher_file, pooling=way, layers=(layer,), image_size=32)).values
        for layer in (2, 5)
        for way in ("cls", "mean")
    ]
    more = {"pooling": "cls+mean", "layers": (2, 5), "image_size": 32}
    both = standardized(embed(options(steel, teacher_file, **more)))
    wanted = np.concatenate([scaled(one) * 0.25**0.5 for one in alone], axis=1)
    np.testing.assert_allclose(both, wanted, atol=2e-4)
    stages = [
        embed(options(steel, None, encoder=(INSTALLED,), pooling="mean", layers=layers))
        for layers in ((2,), (4,), (2, 4))
    ]
    assert stages[0].values.shape[1] != stages[1].values.shape[1]
    halves = [scaled(one.values) * 0.5**0.5 for one in stages[:2]]
    np.testing.assert_allclose(standardized(stages[2]), np.concatenate(halves, axis=1), atol=2e-4)


def test_each_encoder_has_its_own_layers_pooling_and_size(steel: Path, teacher_file: Path) -> None:
    own = ({"pooling": "mean", "layers": (2,)}, {"pooling": "cls", "image_size": 48}, {})
    alone = [embed(options(steel, teacher_file, **({"image_size": 32} | each))) for each in own]
    specs = tuple(
        f"test_vit{taken}={teacher_file}"
        for taken in (",pooling=mean,layers=2", ",pooling=cls,image_size=48", "")
    )
    together = embed(options(steel, None, encoder=specs, image_size=32))
    wanted = np.concatenate([scaled(one.values) / 3**0.5 for one in alone], axis=1)
    np.testing.assert_allclose(standardized(together), wanted, atol=2e-4)
    names = "test_vit,pooling=mean,layers=2+test_vit,pooling=cls,image_size=48+test_vit"
    assert together.about["encoder"] == names
    for wrong, message in (
        ("layers=2", "--layers: say with --pooling how"),
        ("pooling=avg", "--pooling avg: auto, or cls"),
        ("image_size=3", "greater than or equal to 16"),
    ):
        with pytest.raises(UserError, match=rf"^--encoder test_vit,{wrong}=.*{message}"):
            embed(options(steel, None, encoder=(f"test_vit,{wrong}={teacher_file}",)))


def standardized(table: FeatureTable) -> Any:
    """All its blocks side by side, prepared by its train pictures."""
    preparation = Preparation("standardize", table.blocks).fit(table.split("train").values)
    return preparation.transform(table.values)


def scaled(values: Any) -> Any:
    """Standardized by the 42 train pictures, length 1."""
    train = values[:42].astype(np.float64)
    rows = (values - train.mean(0)) / train.std(0).clip(1e-5)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_picture_influences_its_own_row_only(data: Path, teacher_file: Path) -> None:
    config = options(data, None, encoder=(f"test_vit={teacher_file}", INSTALLED))
    before = embed(config)
    changed = data / before.names[-1]
    Image.fromarray(255 - read_picture(changed)).save(changed)
    after = embed(config)
    assert np.array_equal(after.values[:-1], before.values[:-1])
    assert np.abs(after.values[-1] - before.values[-1]).max() > 1e-3


def test_runs_as_encoders(steel: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Recognizer(build_backbone("test_resnet", 48), 6).eval()
    geometry = Geometry(48, "pad", "bilinear")
    card = ModelCard("test_resnet", tuple("abcdef"), geometry, HALF)
    save_model(tmp_path / "tuned" / "weights" / "draw_1.safetensors", model, card)
    facts = backbone_facts(model.backbone, {"image_size": 48})
    save_backbone(tmp_path / "pretrained" / "backbone.safetensors", model.backbone, facts)
    tuned = embed(options(steel, None, encoder=(str(tmp_path / "tuned"),), image_size=None))
    (about,) = tuned.about["encoders"]
    assert about["geometry"] == {
        "size": 48,
        "resize": "pad",
        "interpolation": "bilinear",
        "bit_depth": 16,
    }
    image = (
        Image.open(steel / tuned.names[5]).convert("L").resize((48, 48), Image.Resampling.BILINEAR)
    )
    with torch.inference_mode():
        wanted = model.backbone(torch.from_numpy(np.array(image))[None, None])[0]
    np.testing.assert_allclose(tuned.values[5], wanted.numpy(), atol=1e-5, rtol=1e-4)
    pretrained = options(
        steel,
        None,
        encoder=(str(tmp_path / "pretrained"),),
        image_size=None,
        interpolation="bilinear",
    )
    np.testing.assert_allclose(embed(pretrained).values, tuned.values, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"encoder": ("resnet19=random",)},
            "--encoder resnet19=random: not a file, a run folder, a CLIP",
        ),
        ({"encoder": ("test_vit=PIC",)}, "--encoder .*bmp: not a weight file"),
        ({"encoder": ("resnet18=TEACHER",)}, r"--encoder .*tiny_vit\.safetensors: .*match"),
        ({"encoder": ("TEACHER",)}, "--encoder .* give it as NAME=FILE"),
        ({"encoder": ("embedded",)}, "--encoder embedded: not a file, a run folder, a CLIP"),
    ],
)
def test_encoders_that_cannot_be(
    more: dict[str, Any], message: str, steel: Path, teacher_file: Path
) -> None:
    stand = {"PIC": str(next(steel.rglob("*.bmp"))), "TEACHER": str(teacher_file)}
    (spec,) = more["encoder"]
    for word, file in stand.items():
        spec = spec.replace(word, file)
    filled = {"encoder": (spec,)}
    with pytest.raises(UserError, match=message):
        embed(options(steel, None, **filled))
