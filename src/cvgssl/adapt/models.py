"""Where the weights of each draw begin: a file, a hub, or random numbers."""

import copy

import torch
from torch import nn

from cvgssl.adapt.config import AdaptConfig, FinetuneConfig, parse_trainable
from cvgssl.adapt.model_file import ModelCard
from cvgssl.adapt.network import Recognizer, choose_part, count_trained, new_head, train_only
from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.encoders.normalization import CLIP, HALF, IMAGENET
from cvgssl.encoders.pretrained import LoadReport, check_start, load_pretrained
from cvgssl.images.geometry import Geometry
from cvgssl.runtime.seeds import seed_for

NORMALIZATIONS = {"half": HALF, "imagenet": IMAGENET, "clip": CLIP}


class ModelSource:
    """Makes the backbone and head that each draw starts from.

    report: what was read from `--pretrained`; None from scratch.
    """

    def __init__(self, config: AdaptConfig, classes: tuple[str, ...], geometry: Geometry) -> None:
        self.config, self.classes, self.geometry = config, classes, geometry
        self.report: LoadReport | None = None
        if config.pretrained:
            check_start(config.pretrained)
        self._backbone = self._build(draw=0)
        if config.pretrained:
            self.report = load_pretrained(self._backbone, config.pretrained)
        if config.normalize != "auto":
            self._backbone.normalization = NORMALIZATIONS[config.normalize]
        self._part = None
        if isinstance(config, FinetuneConfig):
            trainable = parse_trainable(config.trainable)
            self._part = choose_part(self._backbone, trainable, config.lora_alpha)

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
        return self._backbone.eval().requires_grad_(False)

    def recognizer(self, draw: int) -> Recognizer:
        """A fresh recognizer; pretrained weights are the same in all draws, random ones are not."""
        if self.report is not None:
            backbone = copy.deepcopy(self._backbone)
        else:
            backbone = self._build(draw)
            backbone.normalization = self._backbone.normalization
        recognizer = Recognizer(backbone, len(self.classes))
        recognizer.head = self.head(draw)
        if self._part is not None:
            seed = seed_for(self.config.seed, "lora", draw)
            train_only(recognizer, self._part, torch.Generator().manual_seed(seed))
        return recognizer

    def head(self, draw: int) -> nn.Linear:
        """The linear classifier that `draw` starts with, the same in both modes."""
        seed = seed_for(self.config.seed, "head", draw)
        generator = torch.Generator().manual_seed(seed)
        return new_head(self._backbone.feature_dim, len(self.classes), generator)

    def card(self) -> ModelCard:
        """What the saved weights need to be used."""
        report = self.report
        return ModelCard(
            self.config.arch,
            self.classes,
            self.geometry,
            self._backbone.normalization,
            pretrained=report.path.name if report else None,
            pretrained_sha256=report.sha256 if report else None,
            layout=report.layout if report else None,
        )

    def _build(self, draw: int) -> Backbone:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(self.config.seed, "backbone", draw))
            return build_backbone(self.config.arch, self.geometry.size)
