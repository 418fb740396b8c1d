r"""What bf16 and int8 cost in accuracy: the features of an encoder in fp32, bf16 and int8.

    python recipes/precision_cost.py DATA [DATA ...] --encoder ENCODER --out FOLDER
    cvgssl bench --features FOLDER/*.npz --heads logistic auto --settings semi-supervised \
        --shots 1 4 16 --num-draws 20

fp32: as `cvgssl embed` gives them. bf16: by torch on the CPU, slow where the processor has no
instructions for it. int8: weights and activations, by NNCF with the settings of `cvgssl export
--int8`, calibrated on 300 pictures of train/ without their labels; the rounded numbers are
multiplied in float32, so that the result is that of a processor with VNNI on others, too. Files
that are there already are kept. The table is of labels without their mirror images.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed
from cvgssl.features.encoder import JointEncoder, Networks
from cvgssl.features.encoder_requests import requested_encoders
from cvgssl.features.reading import Reading
from cvgssl.features.table import FeatureTable, save_features

CALIBRATION = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--encoder", default="tf_efficientnet_lite0")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8", "bf16"])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for data in args.data:
        config = EmbedConfig(data=data, encoder=(args.encoder,))
        for precision in args.precisions:
            path = args.out / f"{data.name}.{args.encoder.partition('=')[0]} {precision}.npz"
            if not path.exists():
                table = in_int8(config) if precision == "int8" else computed(config, precision)
                about = table.about | {"encoder": f"{table.about['encoder']} {precision}"}
                save_features(replace(table, about=about), path)
            print(path, flush=True)


def computed(config: EmbedConfig, precision: Any) -> FeatureTable:
    """Features as `cvgssl embed` gives them."""
    runtime: Any = "auto" if precision == "fp32" else "torch"
    return embed(replace(config, precision=precision, runtime=runtime))


def in_int8(config: EmbedConfig) -> FeatureTable:
    """The same pictures by the quantized encoder."""
    table = embed(config)
    (request,) = requested_encoders(replace(config, runtime="torch"))
    encoder = JointEncoder([Networks().load(request)]).eval()
    reading = Reading([config.data / name for name in table.names], (encoder.geometry,), config)
    pixels = np.concatenate(
        [[square.pixels for square in each.squares[0]] for each in reading.batches(lambda _: None)]
    )
    train = np.flatnonzero(np.array(table.splits) == "train")
    seen = np.random.default_rng(0).permutation(train)[:CALIBRATION]
    network = quantized(encoder, [pixels[row : row + 1] for row in seen])
    values = [next(iter(network(pixels[row : row + 1]).values())) for row in range(len(pixels))]
    return replace(table, values=np.concatenate(values).astype(np.float32))


class Whole(nn.Module):
    """Uint8 [1, C, S, S] to the embedding [1, D]."""

    def __init__(self, encoder: JointEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        (values,) = self.encoder(pixels)
        return values


def quantized(encoder: JointEncoder, shown: list[NDArray[np.uint8]]) -> Any:
    """The encoder compiled in int8; shown: pictures uint8 [1, C, S, S] to calibrate it on."""
    with torch.no_grad():
        model = openvino.convert_model(Whole(encoder), example_input=torch.from_numpy(shown[0]))
    model.reshape(list(shown[0].shape))
    attention = {"Softmax", "SoftMax", "ScaledDotProductAttention"}
    transformer = any(node.get_type_name() in attention for node in model.get_ops())
    small = nncf.quantize(
        model,
        nncf.Dataset(shown),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        subset_size=len(shown),
    )
    exact = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}
    return openvino.compile_model(small, "CPU", exact)


if __name__ == "__main__":
    main()
