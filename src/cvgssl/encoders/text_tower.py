"""The text tower of a CLIP: sentences to the space that pictures and texts share.

Shape letters: N sentences, D numbers of the joint space.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from cvgssl.runtime.errors import UserError

_BATCH = 256


class TextTowerError(UserError):
    """The weights have no text tower that can be read, or it does not belong to the features."""


class TextTower(nn.Module):
    """Sentences to unit embeddings; never trained, on the CPU.

    file, sha256: of the weights. quick_gelu: the activation. dim: D.
    scale: what cosines are multiplied with before the softmax, as the CLIP learned it.
    """

    def __init__(
        self, body: nn.Module, tokenizer: Any, file: str, sha256: str, quick_gelu: bool,
        scale: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.body = body.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.file, self.sha256, self.quick_gelu, self.scale = file, sha256, quick_gelu, scale

    @torch.inference_mode()
    def forward(self, sentences: Sequence[str]) -> Tensor:
        """Float32 [N, D], rows of length 1; raises UserError for a sentence that is too long."""
        limit = int(cast(int, self.body.context_length))
        for sentence in sentences:
            count = len(self.tokenizer.encode(sentence)) + 2  # start and end
            if count > limit:
                raise UserError(
                    f"prompt {sentence[:60]!r}: {count} tokens, {limit} are read; shorten it"
                )
        parts = [
            self.body(self.tokenizer(list(sentences[first : first + _BATCH])))
            for first in range(0, len(sentences), _BATCH)
        ]
        return nn.functional.normalize(torch.cat(parts), dim=-1).clone()

    def identity(self) -> dict[str, Any]:
        """All that decides its embeddings, as JSON values."""
        activation = "quick_gelu" if self.quick_gelu else "gelu"
        return {"file": self.file, "sha256": self.sha256, "activation": activation}
