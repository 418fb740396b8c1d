"""Few-shot accuracy of frozen features: nearest class mean and logistic regression.

    python recipes/frozen_heads.py DATA --weights run/backbone.safetensors --arch resnet18 --size 64
    python recipes/frozen_heads.py DATA --teacher vit_tiny_patch16_224=FILE
    python recipes/frozen_heads.py DATA --arch resnet18 --size 64          (random weights)

Draws are those of `cvgssl finetune` with the same seed, the same for all encoders, so differences
are paired. Features are centred by the mean of all train/ pictures (no labels) and brought to
length 1; logistic regression has a fixed ridge of 1/20 per weight. Test pictures are classified
one by one (inductive) and choose nothing. Figures are macro-recall on test/, per cent.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from cvgssl.adapt.draws import draw
from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.forward import forward_all
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.loading import load_encoders
from cvgssl.encoders.pretrained import load_pretrained
from cvgssl.heads.metrics import confusion, macro_recall, mean_interval
from cvgssl.images.dataset import Dataset
from cvgssl.images.geometry import Geometry
from cvgssl.images.scan import load_dataset
from cvgssl.images.store import load_dataset_pictures
from cvgssl.runtime.files import write_json

RIDGE = 1 / 20


class OnStored(nn.Module):
    """A teacher that takes stored uint8 pictures."""

    def __init__(self, teacher: FrozenEncoder) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, pixels: Tensor) -> Tensor:
        """Uint8 [B, C, S, S] to embeddings [B, D]."""
        return self.teacher(pixels.float() / 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, help="backbone; left out: random weights")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=224, help="side of the pictures, pixels")
    parser.add_argument("--teacher", help="a teacher instead, as NAME=FILE")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    encoder, facts = build(args)
    dataset = load_dataset(args.data)
    loaded = load_dataset_pictures(dataset, Geometry(facts["size"]))
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    encoder.to(accelerator.device)
    train, test = (
        forward_all(encoder, pictures.pixels, 64, accelerator).cpu()
        for pictures in (loaded.train, loaded.test)
    )
    result = facts | {"data": args.data.name, "setting": "inductive", "draws": args.draws}
    result["macro_recall"] = score(train, test, loaded.dataset, args.shots, args.draws)
    for head, shots in result["macro_recall"].items():
        shown = "   ".join(f"{shot} shot {mean_interval(values)}" for shot, values in shots.items())
        print(f"{args.data.name}  {head:<20} {shown}")
    if args.json:
        write_json(args.json, result)


def build(args: argparse.Namespace) -> tuple[nn.Module, dict[str, Any]]:
    """The frozen encoder and its description in the result."""
    if args.teacher:
        (teacher,) = load_encoders([args.teacher])
        return OnStored(teacher), {"encoder": teacher.identity(), "size": teacher.image_size}
    torch.manual_seed(0)
    backbone = build_backbone(args.arch, args.size)
    encoder: dict[str, Any] = {"arch": args.arch, "sha256": None}
    if args.weights:
        encoder["sha256"] = load_pretrained(backbone, args.weights).sha256
    return backbone, {"encoder": encoder, "size": args.size}


def score(
    train: Tensor,
    test: Tensor,
    dataset: Dataset,
    shots: list[int],
    draws: int,
    only: str = "",
) -> dict[str, dict[str, list[float]]]:
    """Macro-recall of both heads, or of one of them, by shot, one figure per draw."""
    centre = train.mean(0)
    train, test = F.normalize(train - centre, dim=1), F.normalize(test - centre, dim=1)
    labels, classes = torch.from_numpy(dataset.train.labels), len(dataset.train.classes)
    heads = {"nearest class mean": nearest_mean, "logistic regression": logistic}
    heads = {name: head for name, head in heads.items() if only in ("", name)}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in heads}
    for shot in shots:
        drawn = draw(dataset, shot, draws, seed=0)
        for name, head in heads.items():
            found[name][str(shot)] = []
            for number in range(draws):
                rows = torch.from_numpy(drawn.rows(number, dataset.train, dataset.root))
                predicted = head(train[rows], labels[rows], test, classes)
                counts = confusion(dataset.test.labels, predicted.numpy(), classes)
                found[name][str(shot)].append(macro_recall(counts))
    return found


def nearest_mean(support: Tensor, labels: Tensor, query: Tensor, classes: int) -> Tensor:
    means = torch.stack([support[labels == label].mean(0) for label in range(classes)])
    return (query @ F.normalize(means, dim=1).T).argmax(1)


def logistic(support: Tensor, labels: Tensor, query: Tensor, classes: int) -> Tensor:
    weight = torch.zeros(support.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(support @ weight + bias, labels, reduction="sum")
        value = value + RIDGE * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        return (query @ weight + bias).argmax(1)


if __name__ == "__main__":
    main()
