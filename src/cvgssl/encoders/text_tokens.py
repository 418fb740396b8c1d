"""Sentences to numbers of words, for text towers.

Shape letters: N sentences, T numbers of each, the tower's context.
"""

import importlib
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import check_file, parsing

_LARGEST = 256 * 2**20  # bytes of a tokenizer.json; SigLIP 2's has 34 million
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Tokens(Protocol):
    """What a text tower needs."""

    def count(self, sentence: str) -> int:
        """Numbers that the sentence needs, start and end included."""

    def __call__(self, sentences: Sequence[str]) -> Tensor:
        """Int64 [N, T]."""


class ClipTokens:
    """CLIP's own tokenizer, open_clip's implementation of it."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def count(self, sentence: str) -> int:
        """Numbers that the sentence needs, start and end included."""
        return len(self._tokenizer.encode(sentence)) + 2

    def __call__(self, sentences: Sequence[str]) -> Tensor:
        """Int64 [N, T], zeros after the end."""
        tokens: Tensor = self._tokenizer(list(sentences))
        return tokens


class FileTokens:
    """SigLIP's tokenizer from the tokenizer.json beside its weights.

    Text is lower case; of SigLIP 1 (whose end is `</s>`), also without punctuation. After the end
    follows padding up to T.
    """

    def __init__(self, path: Path, context: int, words: int) -> None:
        check_file(path, _LARGEST)
        with parsing(path, "a tokenizer of transformers", "copy it again"):
            self._tokenizer = _tokenizers().Tokenizer.from_file(str(path))
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
        self._path, self._context, self._words = path, context, words
        self._second = self._tokenizer.token_to_id("<eos>") is not None
        end, pad = ("<eos>", "<pad>") if self._second else ("</s>", "</s>")
        self._end, self._pad = map(self._tokenizer.token_to_id, (end, pad))
        if self._end is None or self._pad is None:
            raise UserError(f"{path}: has no word {end} or {pad}: no tokenizer of a SigLIP")
        if max(self._end, self._pad) >= words:
            raise UserError(f"{path}: has more words than the {words} of the text tower")

    def count(self, sentence: str) -> int:
        """Numbers that the sentence needs, the end included."""
        return len(self._encode(sentence))

    def __call__(self, sentences: Sequence[str]) -> Tensor:
        """Int64 [N, T]."""
        result = torch.full((len(sentences), self._context), self._pad, dtype=torch.int64)
        for row, sentence in zip(result, sentences, strict=True):
            numbers = self._encode(sentence)[: self._context]
            row[: len(numbers)] = torch.tensor(numbers)
        return result

    def _encode(self, sentence: str) -> list[int]:
        text = sentence.lower()
        if not self._second:
            text = " ".join(text.translate(_NO_PUNCTUATION).split())
        with parsing(self._path, "a tokenizer of transformers", "copy it again"):
            numbers: list[int] = self._tokenizer.encode(text).ids
        if max(numbers, default=0) >= self._words:
            raise UserError(
                f"{self._path}: has more words than the {self._words} of the text tower"
            )
        return numbers if numbers[-1:] == [self._end] else [*numbers, self._end]


def _tokenizers() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise UserError("SigLIP's texts need tokenizers: pip install 'cvgssl[clip]'") from error
