"""What leaves pre-training can be read again as it was meant."""

from pathlib import Path

import pytest
import torch

from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.encoders.normalization import IMAGENET
from cvgssl.encoders.pretrained import load_pretrained
from cvgssl.pretrain.checkpoint import (
    Checkpoint,
    backbone_facts,
    checkpoints,
    save_backbone,
    save_checkpoint,
)
from cvgssl.pretrain.methods.base import Batch, Method


class Plain(Method):
    """A backbone and a projector, without anything to learn."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.projector = torch.nn.Sequential(torch.nn.Linear(backbone.feature_dim, 4))

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {"zero": self.projector(self.backbone(batch.views[0])).sum() * 0}


@pytest.fixture(params=["test_resnet", "vit_tiny_patch16_224,depth=1"])
def method(request: pytest.FixtureRequest) -> Plain:
    torch.manual_seed(0)
    backbone = build_backbone(request.param, 32)
    backbone.normalization = IMAGENET
    return Plain(backbone)


def saved(method: Plain, folder: Path, **facts: object) -> list[Path]:
    known = backbone_facts(method.backbone, dict(facts))
    optimizer = torch.optim.SGD(method.parameters(), 0.1)
    save_backbone(folder / "backbone.safetensors", method.backbone, known)
    path = save_checkpoint(folder, Checkpoint(3, method, optimizer, known), keep=2)
    return [folder / "backbone.safetensors", path]


def test_weights_and_normalization_come_back(method: Plain, tmp_path: Path) -> None:
    for path in saved(method, tmp_path, test_left_out=True):
        backbone = build_backbone(method.backbone.arch, 32)
        report = load_pretrained(backbone, path)
        assert report.normalization == backbone.normalization == IMAGENET
        assert report.matched == report.total
        assert report.test_left_out
        for name, value in method.backbone.body.state_dict().items():
            assert torch.equal(backbone.body.state_dict()[name], value)


def test_what_may_have_seen_test_pictures_says_so(method: Plain, tmp_path: Path) -> None:
    for path in saved(method, tmp_path, test_left_out=False):
        report = load_pretrained(build_backbone(method.backbone.arch, 32), path)
        assert not report.test_left_out
        assert "named no test pictures" in report.summary()


def test_the_projector_stands_where_the_classifier_was(method: Plain, tmp_path: Path) -> None:
    _, path = saved(method, tmp_path)
    names = torch.load(path, weights_only=True)["state_dict"].keys()
    classifier = "head" if "vit" in method.backbone.arch else "fc"
    assert f"base_encoder.{classifier}.0.weight" in names
    assert not any(name.startswith("projector.") for name in names)


def test_only_the_newest_checkpoints_stay(method: Plain, tmp_path: Path) -> None:
    optimizer = torch.optim.SGD(method.parameters(), 0.1)
    for epoch in (8, 9, 10, 11):
        save_checkpoint(tmp_path, Checkpoint(epoch, method, optimizer, {}), keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == [
        "checkpoint_0010.pth.tar",
        "checkpoint_0011.pth.tar",
    ]
