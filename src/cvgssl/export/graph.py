"""A recognizer as one network from picture to answer, and its way into an ONNX file.

Shape letters: H rows, W columns, C channels (1 or 3), D numbers of an embedding, K classes,
L labelled pictures.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cvgssl.export.encoder import EncoderPart
from cvgssl.export.heads import HeadPart, PreparationPart, unit
from cvgssl.export.running import INPUTS, OUTPUTS, import_onnx
from cvgssl.export.squares import Squares
from cvgssl.heads import OpenSetHead
from cvgssl.recognizer.fitted import FittedRecognizer
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line

NEAREST = 5  # labelled pictures that are named


class RecognizerGraph(nn.Module):
    """What `cvgssl predict` does with the samples of a picture."""

    labelled: Tensor

    def __init__(self, recognizer: FittedRecognizer, labelled: Tensor) -> None:
        """Make it of a recognizer with verdicts.

        labelled: prepared embeddings float64 [L, D] of the labelled pictures.
        """
        super().__init__()
        head = recognizer.head
        assert isinstance(head.head, OpenSetHead)
        self.squares = nn.ModuleList(Squares(each) for each in recognizer.geometries)
        self.places = [recognizer.geometries.index(each.geometry) for each in recognizer.encoders]
        self.encoders = nn.ModuleList(EncoderPart(each) for each in recognizer.encoders)
        self.preparation = PreparationPart(head.preparation)
        self.head = HeadPart(head.head.head_, head.head.score_)
        self.register_buffer("labelled", unit(labelled))

    def forward(self, picture: Tensor, white: Tensor) -> tuple[Tensor, ...]:
        """Uint16 [H, W, C] and the white level [] of its format to `OUTPUTS`."""
        squares = [each(picture, white) for each in self.squares]
        values = torch.cat(
            [
                encoder(squares[place])
                for encoder, place in zip(self.encoders, self.places, strict=True)
            ],
            dim=1,
        )
        rows = self.preparation(values)
        probabilities, score = self.head(rows)
        cosines = (unit(rows) @ self.labelled.T)[0]
        similarity, nearest = cosines.topk(min(NEAREST, len(self.labelled)))
        return (
            probabilities[0].float(),
            score[0].float(),
            values[0],
            nearest,
            similarity.float(),
        )


def write_graph(graph: nn.Module, metadata: Mapping[str, str], path: Path) -> None:
    """Write `graph` as an ONNX file with `metadata`.

    Raises UserError when this version of torch cannot.
    """
    import_onnx()
    sample = (torch.zeros(37, 53, 3, dtype=torch.uint16), torch.tensor(255, dtype=torch.uint16))
    free = torch.export.Dim.DYNAMIC
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                graph.eval(),
                sample,
                dynamo=True,
                dynamic_shapes=({0: free, 1: free, 2: free}, None),
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                verbose=False,
            )
            assert program is not None
            program.model.metadata_props.update(metadata)
            program.save(path)
    except OSError:
        raise
    except Exception as error:  # whatever a network provokes in the exporter
        raise UserError(
            f"torch {torch.__version__} cannot export this recognizer ({one_line(error)}); take "
            "another encoder or another version of torch"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own reports, which are long, are left out; its errors come through."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
