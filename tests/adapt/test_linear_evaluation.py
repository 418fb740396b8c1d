"""Features computed once must give what running the backbone in every epoch gives."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cvgssl.adapt.config import LinearConfig
from cvgssl.adapt.data import load_task
from cvgssl.adapt.model_source import load_model_source
from cvgssl.adapt.network import set_learning_rate
from cvgssl.adapt.protocol import adapt
from cvgssl.runtime.launch import launch
from cvgssl.runtime.seeds import seed_for


def plain_linear_evaluation(config: LinearConfig) -> list[dict[str, float]]:
    """The textbook loop: the frozen backbone runs on every picture in every epoch."""
    task = load_task(config, launch())
    source = load_model_source(config, task.classes, task.geometry)
    backbone = source.frozen()
    train = torch.tensor(task.loaded.train.pixels)
    test = torch.tensor(task.loaded.test.pixels)
    rows = []
    for draw, support in enumerate(task.support_rows, start=1):
        model = nn.Sequential(backbone, source.head(draw))
        optimizer = torch.optim.SGD(
            model[1].parameters(), config.lr, config.momentum, weight_decay=config.weight_decay
        )
        optimizer.param_groups[0]["initial_lr"] = config.lr
        for epoch in range(config.epochs):
            set_learning_rate(optimizer, epoch, config.epochs)
            generator = torch.Generator().manual_seed(seed_for(config.seed, "order", draw, epoch))
            order = torch.randperm(len(support), generator=generator)
            losses, correct = 0.0, 0
            for batch in order.split(config.batch_size):
                chosen = torch.from_numpy(support)[batch]
                labels = task.train_labels[chosen]
                logits = model(train[chosen])
                loss = F.cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses += loss.item() * len(batch)
                correct += int((logits.argmax(1) == labels).sum())
            with torch.no_grad():
                logits = model(test)
            rows.append(
                {
                    "draw": draw,
                    "epoch": epoch + 1,
                    "train_loss": losses / len(support),
                    "train_acc": 100 * correct / len(support),
                    "test_loss": F.cross_entropy(logits, task.test_labels).item(),
                    "test_acc": 100 * (logits.argmax(1) == task.test_labels).float().mean().item(),
                }
            )
    return rows


@pytest.mark.parametrize(("arch", "lr"), [("test_resnet", 5.0), ("test_vit", 0.01)])
def test_cached_features_give_the_numbers_of_the_plain_loop(
    arch: str, lr: float, steel: Path, tmp_path: Path
) -> None:
    config = LinearConfig(
        data=steel,
        arch=arch,
        shot=3,
        num_draws=2,
        epochs=6,
        batch_size=7,  # several uneven steps per epoch
        lr=lr,
        image_size=32,
        out=tmp_path / "run",
    )
    expected = plain_linear_evaluation(config)
    folder, summary = adapt(config)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]

    assert len(rows) == len(expected) == 12
    for row, plain in zip(rows, expected, strict=True):
        assert row == pytest.approx(plain, abs=1e-5)
    assert expected[0]["train_loss"] > 1.1 * expected[5]["train_loss"], "nothing was learned"
    assert summary.last_epoch.by_draw[1]["accuracy"] == pytest.approx(expected[-1]["test_acc"])


def test_backbone_stays_as_it_was(steel: Path, tmp_path: Path) -> None:
    """Batch norm must not drift while the head trains."""
    from cvgssl.adapt.model_file import load_model

    small = {"arch": "test_resnet", "image_size": 32}
    config = LinearConfig(data=steel, num_draws=1, epochs=3, **small, out=tmp_path / "run")
    folder, _ = adapt(config)
    model, card = load_model(folder / "weights" / "draw_1.safetensors")
    fresh = load_model_source(config, card.classes, card.geometry).frozen().state_dict()

    trained = model.backbone.state_dict()
    assert trained.keys() == fresh.keys()
    assert all(torch.equal(trained[name], fresh[name]) for name in fresh)
