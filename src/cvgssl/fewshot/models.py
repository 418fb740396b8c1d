"""Where the weights of each run begin: a file, a hub, or random numbers."""

import copy

import torch
from torch import nn

from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.encoders.normalization import CLIP, HALF, IMAGENET
from cvgssl.encoders.pretrained import LoadReport, load_pretrained
from cvgssl.fewshot.config import AdaptConfig
from cvgssl.fewshot.model_file import ModelCard
from cvgssl.fewshot.recognizer import Recognizer, new_head
from cvgssl.images.geometry import Geometry
from cvgssl.runtime.seeds import seed_for

NORMALIZATIONS = {"half": HALF, "imagenet": IMAGENET, "clip": CLIP}


class ModelSource:
    """Makes the backbone and head that each run starts from.

    report: what was read from `--pretrained`; None from scratch.
    """

    def __init__(self, config: AdaptConfig, classes: tuple[str, ...], geometry: Geometry) -> None:
        self.config, self.classes, self.geometry = config, classes, geometry
        self.report: LoadReport | None = None
        self._backbone = self._build(run=0)
        if config.pretrained:
            self.report = load_pretrained(self._backbone, config.pretrained)
        if config.normalize != "auto":
            self._backbone.normalization = NORMALIZATIONS[config.normalize]

    @property
    def start(self) -> str:
        """One line that says where the weights come from."""
        if self.report is None:
            return f"from scratch: no --pretrained, {self.config.arch} starts with random weights"
        return self.report.summary()

    def frozen(self) -> Backbone:
        """The backbone that linear evaluation uses in every run, in eval mode."""
        return self._backbone.eval().requires_grad_(False)

    def recognizer(self, run: int) -> Recognizer:
        """A fresh recognizer; pretrained weights are the same in all runs, random ones are not."""
        if self.report is not None:
            backbone = copy.deepcopy(self._backbone)
        else:
            backbone = self._build(run)
            backbone.normalization = self._backbone.normalization
        recognizer = Recognizer(backbone, len(self.classes))
        recognizer.head = self.head(run)
        return recognizer

    def head(self, run: int) -> nn.Linear:
        """The linear classifier that `run` starts with, the same in both modes."""
        seed = seed_for(self.config.seed, "head", run)
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

    def _build(self, run: int) -> Backbone:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(self.config.seed, "backbone", run))
            return build_backbone(self.config.arch, self.geometry.size)
