"""Where the weights of each draw begin: a file, a hub, or random numbers."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from cvgssl.adapt.config import AdaptConfig, FinetuneConfig, parse_trainable
from cvgssl.adapt.model_file import ModelCard
from cvgssl.adapt.network import (
    Recognizer,
    TrainablePart,
    choose_part,
    count_trained,
    new_head,
    train_only,
)
from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.encoders.normalization import CLIP, HALF, IMAGENET
from cvgssl.encoders.pretrained import LoadReport, check_start, load_pretrained
from cvgssl.images.geometry import Geometry
from cvgssl.runtime.seeds import seed_for

NORMALIZATIONS = {"half": HALF, "imagenet": IMAGENET, "clip": CLIP}


@dataclass(frozen=True)
class ModelSource:
    """Makes the backbone and head that each draw starts from.

    backbone: with the weights and normalisation to start from; drawn again where it is random.
    report: what was read from `--pretrained`; None from scratch.
    part: what fine-tuning changes; None where it does not.
    """

    config: AdaptConfig
    classes: tuple[str, ...]
    geometry: Geometry
    backbone: Backbone
    report: LoadReport | None
    part: TrainablePart | None

    @property
    def start(self) -> str:
        """One line that says where the weights come from."""
        if self.report is None:
            return f"from scratch: no --pretrained, {self.config.arch} starts with random weights"
        return self.report.summary()

    @property
    def trained(self) -> str:
        """One line that says which part of the recognizer fine-tuning changes; empty: all of it."""
        if not isinstance(self.config, FinetuneConfig) or self.config.trainable == "all":
            return ""
        return f"trained: {self.config.trainable}, {count_trained(self.recognizer(1))}"

    def frozen(self) -> Backbone:
        """The backbone that linear evaluation uses in every draw, in eval mode."""
        return self.backbone.eval().requires_grad_(False)

    def recognizer(self, draw: int) -> Recognizer:
        """A fresh recognizer; pretrained weights are the same in all draws, random ones are not."""
        if self.report is not None:
            backbone = copy.deepcopy(self.backbone)
        else:
            backbone = _build(self.config, self.geometry, draw)
            backbone.normalization = self.backbone.normalization
        recognizer = Recognizer(backbone, len(self.classes))
        recognizer.head = self.head(draw)
        if self.part is not None:
            seed = seed_for(self.config.seed, "lora", draw)
            train_only(recognizer, self.part, torch.Generator().manual_seed(seed))
        return recognizer

    def head(self, draw: int) -> nn.Linear:
        """The linear classifier that `draw` starts with, the same in both modes."""
        seed = seed_for(self.config.seed, "head", draw)
        generator = torch.Generator().manual_seed(seed)
        return new_head(self.backbone.feature_dim, len(self.classes), generator)

    def card(self) -> ModelCard:
        """What the saved weights need to be used."""
        report = self.report
        return ModelCard(
            self.config.arch,
            self.classes,
            self.geometry,
            self.backbone.normalization,
            pretrained=report.path.name if report else None,
            pretrained_sha256=report.sha256 if report else None,
            layout=report.layout if report else None,
        )


def load_model_source(
    config: AdaptConfig, classes: tuple[str, ...], geometry: Geometry
) -> ModelSource:
    """Build the network and read its weights; raises UserError for what does not fit."""
    if config.pretrained:
        check_start(config.pretrained)
    backbone = _build(config, geometry, draw=0)
    report = load_pretrained(backbone, config.pretrained) if config.pretrained else None
    if config.normalize != "auto":
        backbone.normalization = NORMALIZATIONS[config.normalize]
    part = None
    if isinstance(config, FinetuneConfig):
        part = choose_part(backbone, parse_trainable(config.trainable), config.lora_alpha)
    return ModelSource(config, classes, geometry, backbone, report, part)


def _build(config: AdaptConfig, geometry: Geometry, draw: int) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(config.seed, "backbone", draw))
        return build_backbone(config.arch, geometry.size)
