"""Real encoders on real pictures (CVGSSL_WEIGHTS, CVGSSL_DATA)."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.loading import available_clip_encoders, load_encoders
from cvgssl.encoders.pretrained import load_pretrained

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (os.environ.get("CVGSSL_WEIGHTS") and os.environ.get("CVGSSL_DATA")),
        reason="CVGSSL_WEIGHTS and CVGSSL_DATA are not both set",
    ),
]
VIT = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Uint8 [6, 1, 224, 224], one picture of each class of NEU-CLS."""
    folder = Path(os.environ["CVGSSL_DATA"]) / "NEU-CLS" / "train"
    files = [sorted(kind.iterdir())[0] for kind in sorted(folder.iterdir())]
    read = [Image.open(file).convert("L").resize((224, 224)) for file in files]
    return torch.stack([torch.from_numpy(np.array(picture))[None] for picture in read])


def test_stand_ins_by_name_alone(pictures: Tensor) -> None:
    vit, squeeze = load_encoders([VIT, "torchvision:squeezenet1_1:0.5"])
    assert (vit.dim, squeeze.dim) == (192, 512)
    assert vit.image_size == squeeze.image_size == 224
    for teacher in (vit, squeeze):
        for views in (pictures / 255, (pictures / 255)[:, :, :96, :96]):
            embedding = teacher(views)
            assert torch.isfinite(embedding).all()
            assert torch.pdist(embedding).min() > 0.1
        assert teacher.summary().count("sha256") == 1
    assert available_clip_encoders() == []


def test_equals_the_backbone_of_these_weights(pictures: Tensor) -> None:
    backbone = build_backbone(VIT, 224)
    report = load_pretrained(backbone, f"{VIT}.augreg_in21k_ft_in1k.safetensors")
    teacher = load_encoders([VIT])[0]
    assert teacher.source.sha256 == report.sha256
    with torch.no_grad():
        wanted = backbone.eval()(pictures)
    torch.testing.assert_close(teacher(pictures / 255), wanted, atol=1e-4, rtol=1e-4)
