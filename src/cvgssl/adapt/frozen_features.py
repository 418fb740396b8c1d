"""Features of decoded pictures by the backbone as it is before training, computed once.

Linear evaluation trains on them, pseudo-labels are guessed from them. They are kept in the cache
of embeddings batch by batch: a batch of the same pictures has its numbers from there, to the last
bit, however far an earlier run came and whatever other runs computed.

Shape letters: N pictures, B of a batch, C channels, S side in pixels, D features.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata

import PIL
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, broadcast_object_list
from torch import Tensor, nn

from cvgssl.adapt.config import AdaptConfig
from cvgssl.adapt.model_source import ModelSource
from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.forward import forward_all
from cvgssl.features.feature_store import FeatureStore
from cvgssl.features.pooling import Pooling
from cvgssl.features.record import FEATURES_FOLDER
from cvgssl.images.dataset import Pictures
from cvgssl.images.reader import VERSION as READER
from cvgssl.runtime.cache_folder import default_cache_dir

FORMAT = 1  # raise when the same weights and options would give other numbers


class PooledBackbone(nn.Module):
    """Class token and mean of the patches, where a network has both; else its own output.

    width: D.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        has_token = getattr(backbone.body, "cls_token", None) is not None
        layers = has_token and hasattr(backbone.body, "forward_intermediates")
        self.pooling = Pooling(backbone, ("cls", "mean"), ()) if layers else None
        self.width = sum(self.pooling.widths) if self.pooling else backbone.feature_dim

    def forward(self, pixels: Tensor) -> Tensor:
        """Uint8 [B, C, S, S] to features [B, D]."""
        if self.pooling is None:
            features: Tensor = self.backbone(pixels)
            return features
        pooled: Tensor = self.pooling(self.backbone.normalize(pixels))
        return pooled


@dataclass(frozen=True)
class FeatureExtractor:
    """A frozen network on its device, and the place of its features in the cache.

    network: uint8 [B, C, S, S] to [B, D]. width: D. key: of all that decides its numbers besides
    the pictures. batch_size: of a process.
    """

    network: nn.Module
    width: int
    key: str
    batch_size: int
    accelerator: Accelerator

    def features(self, pictures: Pictures, advance: Callable[[int], None]) -> Tensor:
        """Float32 [N, D] on the CPU, the same in every process; reads and writes the cache.

        advance: takes the number of pictures that have just been embedded or were in the cache.
        """
        first = self.accelerator.is_main_process
        store = None
        if first:
            store = FeatureStore(default_cache_dir() / FEATURES_FOLDER / self.key, self.width)
        step = self.batch_size * self.accelerator.num_processes
        rows = torch.empty(len(pictures), self.width)
        for start in range(0, len(pictures), step):
            batch = pictures.part(start, min(start + step, len(pictures)))
            kept = store.block(batch.digests) if store is not None else None
            if broadcast_object_list([kept is None])[0]:
                values = forward_all(self.network, batch.pixels, self.batch_size, self.accelerator)
                rows[start : start + len(batch)] = values.cpu()
                if store is not None:
                    store.add(batch.digests, values.cpu().numpy())
            elif kept is not None:
                rows[start : start + len(batch)] = torch.from_numpy(kept.copy())
            advance(len(batch))
        if self.accelerator.num_processes == 1:
            return rows
        shared: Tensor = broadcast(rows.to(self.accelerator.device)).cpu()
        return shared


def feature_extractor(
    source: ModelSource, config: AdaptConfig, accelerator: Accelerator, pooled: bool = False
) -> FeatureExtractor:
    """That of the backbone which all draws begin with; pooled: see `PooledBackbone`."""
    backbone = source.frozen().to(accelerator.device)
    network = PooledBackbone(backbone).eval() if pooled else backbone
    facts = {
        "format": FORMAT,
        "versions": [READER, PIL.__version__, *map(metadata.version, ("torch", "timm"))],
        "arch": backbone.arch,
        "weights": _weights_sha256(backbone),
        "normalization": asdict(backbone.normalization),
        "geometry": asdict(source.geometry),
        "pooled": pooled,
        # the last bits depend on these
        "precision": config.precision,
        "batches": [config.eval_batch_size, accelerator.num_processes, accelerator.device.type],
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
    width = network.width if isinstance(network, PooledBackbone) else backbone.feature_dim
    return FeatureExtractor(network, width, key, config.eval_batch_size, accelerator)


def _weights_sha256(module: nn.Module) -> str:
    """Over names, types, shapes and bytes of the tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
