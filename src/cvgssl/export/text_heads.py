"""Heads that know what the classes are called, as parts of the graph, in float64 like theirs.

The texts' embeddings are in the file, so that nobody needs the text tower.

Shape letters: D numbers of a row, K classes.
"""

from torch import Tensor, nn

from cvgssl.export.row_heads import CachePart, KernelPart, keep
from cvgssl.heads.text import TextHead, TextTip, ZeroShot
from cvgssl.heads.text_ridge import TextRidge


class TextsPart(nn.Module):
    """Scaled cosines to the texts."""

    anchors: Tensor

    def __init__(self, head: TextHead, scale: float) -> None:
        super().__init__()
        self.scale = scale
        keep(self, "anchors", head.anchors_)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of length 1 [1, D] to scores [1, K]."""
        return self.scale * (rows @ self.anchors.T)


class ZeroShotPart(nn.Module):
    """`ZeroShot`."""

    def __init__(self, head: ZeroShot) -> None:
        super().__init__()
        self.texts = TextsPart(head, head.anchor_scale)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of length 1 [1, D] to probabilities [1, K]."""
        scores: Tensor = self.texts(rows)
        return scores.softmax(dim=1)


class TextTipPart(nn.Module):
    """`TextTip`."""

    def __init__(self, head: TextTip) -> None:
        super().__init__()
        self.texts = TextsPart(head, head.anchor_scale)
        self.cache = CachePart(head.cache_, head.alpha, head.beta)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of length 1 [1, D] to probabilities [1, K]."""
        scores: Tensor = self.cache.scores(rows) + self.texts(rows)
        return scores.softmax(dim=1)


class TextRidgePart(nn.Module):
    """`TextRidge`."""

    def __init__(self, head: TextRidge) -> None:
        super().__init__()
        assert head.weight_ is not None, "recognizers have labels"
        self.texts = TextsPart(head, head.weight_ * head.unit_)
        kernel, gamma = head.kernel_["metric"], head.kernel_.get("gamma")
        self.residual = KernelPart(head.rows_, head.dual_, kernel, gamma)
        self.scale = head.scale

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of length 1 [1, D] to probabilities [1, K]."""
        scores: Tensor = self.scale * (self.residual(rows) + self.texts(rows))
        return scores.softmax(dim=1)
