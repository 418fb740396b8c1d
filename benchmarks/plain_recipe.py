"""The published recipe as a plain PyTorch loop: the baseline that cvgssl's speed is measured by.

Every picture is opened and resized by PIL in a DataLoader with two workers, in every epoch; the
backbone runs in every epoch, frozen or not; all of test/ is evaluated after every epoch. Nothing
is made slow on purpose: a frozen backbone stays in eval mode and builds no graph, and evaluation
runs without gradient. Draws, initial weights and head are those of cvgssl with the same options, so
that accuracies can be compared draw by draw.

    python benchmarks/plain_recipe.py DATA --mode linear --arch resnet18 --shot 4 --n 5

With `--limit-epochs K` only K epochs of the first draw are trained. The time of the whole job is
then an extrapolation (median epoch times all epochs of all draws), called so in print and JSON;
there is no final accuracy.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cvgssl.adapt.config import FinetuneConfig, LinearConfig
from cvgssl.adapt.draws import draw
from cvgssl.adapt.model_source import load_model_source
from cvgssl.encoders.timm_import import torchvision
from cvgssl.images.dataset import ImageTable
from cvgssl.images.geometry import Geometry
from cvgssl.images.scan import load_dataset
from cvgssl.runtime.files import write_json

transforms = torchvision.transforms
Sample = tuple[Path, int]


class Pictures(Dataset[tuple[Tensor, int]]):
    """Picture files to normalised float [3, S, S], decoded again every time."""

    def __init__(self, samples: list[Sample], size: int) -> None:
        self.samples = samples
        self.transform = transforms.Compose(
            [
                transforms.Resize((size, size)),  # bilinear, antialiased
                transforms.ToTensor(),
                transforms.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        with Image.open(path) as picture:
            return self.transform(picture.convert("RGB")), label


def main() -> None:
    args = read_arguments()
    began = time.perf_counter()
    dataset = load_dataset(args.data)
    train_table, test = dataset.train, samples(dataset.test)
    draws = draw(dataset, args.shot, args.n, args.seed)
    source = load_model_source(options(args), train_table.classes, Geometry(args.size))
    trained = []
    for number in range(1, 2 if args.limit_epochs else args.n + 1):
        rows = draws.rows(number - 1, train_table, dataset.root)
        recognizer = source.recognizer(number)
        if args.mode == "linear":
            recognizer.backbone = source.frozen()
        body = recognizer.backbone.body.to(memory_format=torch.contiguous_format)
        support = samples(train_table.take(rows))
        trained.append(train(args, number, body, recognizer.head, support, test))
    report(args, trained, time.perf_counter() - began)


def options(args: argparse.Namespace) -> LinearConfig | FinetuneConfig:
    kind = LinearConfig if args.mode == "linear" else FinetuneConfig
    return kind(data=args.data, arch=args.arch, pretrained=args.pretrained, seed=args.seed)


def samples(table: ImageTable) -> list[Sample]:
    return list(zip(table.paths, table.labels.tolist(), strict=True))


def train(
    args: argparse.Namespace,
    number: int,
    backbone: nn.Module,
    head: nn.Linear,
    support: list[Sample],
    test: list[Sample],
) -> dict[str, Any]:
    """One draw: seconds of every epoch, and accuracy on test/ in per cent after every epoch."""
    model = nn.Sequential(backbone, head).to(args.device)
    frozen = args.mode == "linear"
    backbone.requires_grad_(not frozen)

    trained = head.parameters() if frozen else model.parameters()
    optimizer = torch.optim.SGD(trained, args.lr, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    loader_options: dict[str, Any] = {"batch_size": args.batch_size, "num_workers": args.workers}
    train_loader = DataLoader(Pictures(support, args.size), shuffle=True, **loader_options)
    test_loader = DataLoader(Pictures(test, args.size), **loader_options)

    seconds, accuracies = [], []
    for epoch in range(1, (args.limit_epochs or args.epochs) + 1):
        start = time.perf_counter()
        model.train()
        if frozen:
            backbone.eval()  # otherwise batch norm would go on learning
        train_loss, train_acc = one_pass(args, model, train_loader, optimizer)
        model.eval()
        with torch.no_grad():
            val_loss, val_acc = one_pass(args, model, test_loader)
        schedule.step()
        seconds.append(time.perf_counter() - start)
        accuracies.append(val_acc)
        print(
            f"[Run {number}] Epoch [{epoch}/{args.epochs}] "
            f"Train Loss: {train_loss:.4f}, Acc: {train_acc:.2f}% | "
            f"Val Loss: {val_loss:.4f}, Acc: {val_acc:.2f}%  ({seconds[-1]:.2f} s)",
            flush=True,
        )
    return {"epoch_seconds": seconds, "test_accuracy": accuracies}


def one_pass(
    args: argparse.Namespace,
    model: nn.Module,
    loader: DataLoader[tuple[Tensor, int]],
    optimizer: torch.optim.Optimizer | None = None,
) -> tuple[float, float]:
    """Mean loss and accuracy in per cent over the loader; learns if there is an optimizer."""
    loss_sum = correct = total = 0.0
    for images, labels in loader:
        images, labels = images.to(args.device), labels.to(args.device)
        logits = model(images)
        loss = nn.functional.cross_entropy(logits, labels)
        if optimizer:
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
        total += len(labels)
    return loss_sum / total, 100 * correct / total


def report(args: argparse.Namespace, draws: list[dict[str, Any]], seconds: float) -> None:
    """Print and write what was measured and, apart from it, what was extrapolated."""
    epochs = [second for draw in draws for second in draw["epoch_seconds"]]
    median = statistics.median(epochs)
    print(f"measured: {len(epochs)} epochs, {sum(epochs):.1f} s, median epoch {median:.3f} s")
    result: dict[str, Any] = {
        "options": {name: value for name, value in vars(args).items() if name != "json"},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "draws": draws,
        "median_epoch_seconds": median,
    }
    if args.limit_epochs:
        result["job_seconds_extrapolated"] = median * args.epochs * args.n
        print(
            f"EXTRAPOLATED job: {args.n} draws of {args.epochs} epochs would take "
            f"{result['job_seconds_extrapolated']:.1f} s; no final accuracy"
        )
    else:
        final = [draw["test_accuracy"][-1] for draw in draws]
        result |= {"job_seconds": seconds, "final_accuracy": final}
        print(f"job: {seconds:.1f} s (measured)")
        print(f"final accuracy: {statistics.mean(final):.2f}%, draws {final}")
    if args.json:
        write_json(args.json, json.loads(json.dumps(result, default=str)))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The published recipe as a plain loop.")
    parser.add_argument("data", type=Path, help="folder with train/CLASS and test/CLASS")
    parser.add_argument("--mode", choices=["linear", "finetune"], default="finetune")
    parser.add_argument("--arch", default="resnet18", help="a timm model")
    parser.add_argument("--pretrained", default="", help="weights, as for cvgssl")
    parser.add_argument("--shot", type=int, default=4)
    parser.add_argument("--n", type=int, default=5, help="draws")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument(
        "--limit-epochs", type=int, help="train so many epochs of the first draw alone"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
