"""A recognizer as one network from picture to answer, and its way into an ONNX file.

Shape letters: H rows, W columns, C channels (1 or 3), D numbers of an embedding, K classes,
L labelled pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from cvgssl.encoders.onnx_backend import quiet
from cvgssl.encoders.programs import ONNXRUNTIME, OPENVINO
from cvgssl.export.encoder import EncoderPart
from cvgssl.export.heads import HeadPart, PreparationPart
from cvgssl.export.row_heads import unit_rows
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.config import ONNX_SUFFIX
from cvgssl.recognizer.exported_file import INPUTS
from cvgssl.recognizer.exported_session import NNCF, import_package
from cvgssl.recognizer.fitted import FittedRecognizer
from cvgssl.recognizer.trained import TrainedRecognizer
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line

NEAREST = 5  # labelled pictures that are named
MOST_BYTES = 1_500_000_000  # protobuf's limit is 2 GiB; beyond, weights would be files of their own

# without an implementation in torch: `export.squares` has it for ONNX
_SQUARES = "cvgssl::squares"
torch.library.define(
    _SQUARES,
    "(Tensor picture, Tensor white, int size, str resize, str interpolation, int bit_depth)"
    " -> Tensor",
)
torch.library.register_fake(
    _SQUARES,
    lambda picture, _, size, *__: picture.new_empty((3, size, size), dtype=torch.float32),
)


class Squares(nn.Module):
    """Samples to a square of 8-bit colour pixels, in a graph that is being written."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.options = astuple(geometry)

    def forward(self, picture: Tensor, white: Tensor) -> Tensor:
        """See `export.squares.squares`."""
        square: Tensor = torch.ops.cvgssl.squares(picture, white, *self.options)
        return square


class RecognizerGraph(nn.Module):
    """What `cvgssl predict` does with the samples of a picture."""

    labelled: Tensor

    def __init__(self, recognizer: FittedRecognizer, head: HeadPart, labelled: Tensor) -> None:
        """Make it of a recognizer and what answers in place of its head.

        labelled: prepared embeddings float64 [L, D] of the labelled pictures.
        """
        super().__init__()
        self.squares = nn.ModuleList(Squares(each) for each in recognizer.geometries)
        self.places = [recognizer.geometries.index(each.geometry) for each in recognizer.runs]
        self.parts = nn.ModuleList(EncoderPart(each) for each in recognizer.runs)
        members = [member for run in recognizer.runs for member in run.members]
        self.order = [members.index(each) for each in recognizer.encoders]
        self.preparation = PreparationPart(recognizer.head.preparation)
        self.head = head
        self.register_buffer("labelled", unit_rows(labelled))

    def forward(self, picture: Tensor, white: Tensor) -> tuple[Tensor, ...]:
        """Uint16 [H, W, C] and the white level [] of its format to the answer.

        Probabilities [K], embedding [D], score [], places and cosines of the nearest labelled ones.
        """
        return self.answer(self.embed(self.views(picture, white)))

    def views(self, picture: Tensor, white: Tensor) -> list[Tensor]:
        """What each network sees of a picture: float32 [V, 3, s, s]."""
        squares = [each(picture, white) for each in self.squares]
        return [
            cast(EncoderPart, part).views(squares[place])
            for part, place in zip(self.parts, self.places, strict=True)
        ]

    def embed(self, views: Sequence[Tensor]) -> Tensor:
        """What the networks see to the embedding, float32 [1, D]."""
        values = [each for part, seen in zip(self.parts, views, strict=True) for each in part(seen)]
        return torch.cat([values[place] for place in self.order], dim=1)

    def answer(self, values: Tensor) -> tuple[Tensor, ...]:
        """An embedding [1, D] to all outputs."""
        rows = self.preparation(values)
        probabilities, score = self.head(rows)
        cosines = (unit_rows(rows) @ self.labelled.T)[0]
        similarity, nearest = cosines.topk(min(NEAREST, len(self.labelled)))
        return (
            probabilities[0].float(),
            values[0],
            score[0].float(),
            nearest,
            similarity.float(),
        )


class EncodersShown(nn.Module):
    """The same graph, which also gives what goes into its networks and what comes out."""

    def __init__(self, graph: RecognizerGraph) -> None:
        super().__init__()
        self.whole = graph  # `graph` is a name of the exporter

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the further outputs: views of each network, and the embedding."""
        return (*(f"views{place}" for place in range(len(self.whole.parts))), "values")

    def forward(self, picture: Tensor, white: Tensor) -> tuple[Tensor, ...]:
        """See `RecognizerGraph`."""
        views = self.whole.views(picture, white)
        values = self.whole.embed(views)
        return (*self.whole.answer(values), *views, values)


class TrainedGraph(nn.Module):
    """What `cvgssl predict` does with the samples of a picture, by a trained model."""

    def __init__(self, recognizer: TrainedRecognizer) -> None:
        super().__init__()
        (geometry,) = recognizer.geometries
        self.squares, self.model = Squares(geometry), recognizer.model.cpu()

    def forward(self, picture: Tensor, white: Tensor) -> tuple[Tensor, Tensor]:
        """Uint16 [H, W, C] and the white level [] to probabilities [K] and embedding [D]."""
        square = self.squares(picture, white).to(torch.uint8)[None]
        features = self.model.backbone(square)
        probabilities = self.model.head(features).float().softmax(dim=1)
        return probabilities[0], features[0].float()


def write_graph(
    graph: nn.Module, outputs: Sequence[str], metadata: Mapping[str, str], path: Path
) -> None:
    """Write `graph` as an ONNX file with `metadata`.

    outputs: names of what it gives.

    Raises UserError when this version of torch cannot, and for more than `MOST_BYTES`.
    """
    tensors = [*graph.parameters(), *graph.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > MOST_BYTES:
        raise UserError(
            f"the recognizer has {size / 1e9:.1f} GB of numbers, an ONNX file holds "
            f"{MOST_BYTES / 1e9:.1f}; take a smaller encoder"
        )
    from cvgssl.export.squares import squares  # imports an extra

    sample = (torch.zeros(37, 53, 3, dtype=torch.uint16), torch.tensor(255, dtype=torch.uint16))
    free = torch.export.Dim.DYNAMIC
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                graph.eval(),
                sample,
                dynamo=True,
                dynamic_shapes=({0: free, 1: free, 2: free}, None),
                input_names=list(INPUTS),
                output_names=list(outputs),
                custom_translation_table={torch.ops.cvgssl.squares.default: squares},
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


def import_packages(path: Path, int8: bool) -> None:
    """Raise UserError where a package that writes or runs a file of this name is missing."""
    program = ONNXRUNTIME if path.suffix == ONNX_SUFFIX else OPENVINO
    for name in ("onnx", "onnxscript", program, *((NNCF,) if int8 else ())):
        import_package(name)
