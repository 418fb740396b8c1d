"""Features of the training pictures by the backbone as it is before fine-tuning, kept on disk.

Shape letters: N training pictures, D features.
"""

import hashlib
import json
from dataclasses import asdict

import numpy as np
import PIL
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor, nn

from cvgssl import __version__
from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.batches import forward_all
from cvgssl.features.cache import BLOCK, FeatureStore
from cvgssl.features.plan import FOLDER
from cvgssl.features.pooling import Pooling
from cvgssl.fewshot.config import AdaptConfig
from cvgssl.fewshot.models import ModelSource
from cvgssl.images.cache import default_cache_dir
from cvgssl.images.reader import VERSION as READER
from cvgssl.images.store import Pictures
from cvgssl.runtime.progress import progress


class _Pooled(nn.Module):
    """Class token and mean of the patches, where a network has both; else its own output."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        has_token = getattr(backbone.body, "cls_token", None) is not None
        layers = has_token and hasattr(backbone.body, "forward_intermediates")
        self.pooling = Pooling(backbone, ("cls", "mean"), ()) if layers else None

    def forward(self, pixels: Tensor) -> Tensor:
        """Uint8 [B, C, S, S] to features [B, D]."""
        if self.pooling is None:
            features: Tensor = self.backbone(pixels)
            return features
        pooled: Tensor = self.pooling(self.backbone.normalize(pixels))
        return pooled


def frozen_features(
    pictures: Pictures, source: ModelSource, config: AdaptConfig, accelerator: Accelerator
) -> NDArray[np.float32]:
    """Float32 [N, D], in the first process; others get what they need from it, and an empty one.

    A picture that was embedded by the same weights and options before comes from the cache, so an
    interrupted job goes on with the same numbers.
    """
    first = accelerator.is_main_process
    store = FeatureStore(default_cache_dir() / FOLDER / _key(source, config)) if first else None
    missing: list[int] = []
    if store is not None:
        places = {digest: row for row, digest in enumerate(pictures.digests) if digest not in store}
        missing = sorted(places.values())
    missing = broadcast_object_list([missing])[0]
    network = _Pooled(source.frozen()).eval().to(accelerator.device)
    with progress("features", len(missing), first) as advance:
        for start in range(0, len(missing), BLOCK):
            rows = missing[start : start + BLOCK]
            pixels = pictures.pixels[rows]
            values = forward_all(network, pixels, config.eval_batch_size, accelerator, advance)
            if store is not None:
                store.add([pictures.digests[row] for row in rows], values.cpu().numpy())
    if store is None:
        return np.zeros((0, 0), np.float32)
    return store.gather(pictures.digests)


def _key(source: ModelSource, config: AdaptConfig) -> str:
    """Short hash of what decides the features besides the pictures."""
    card = asdict(source.card()) | {"classes": None}
    facts = [1, __version__, READER, PIL.__version__, card, config.precision]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
