"""Features of a benchmark's own data sets and encoders, where it is not given files of them."""

from pathlib import Path

from cvgssl.bench.config import BenchConfig, EncoderChoice, FeatureSource
from cvgssl.bench.recorded import file_name
from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed_each
from cvgssl.features.encoder_requests import requested_encoders
from cvgssl.features.table import save_features
from cvgssl.runtime.options import make

FEATURES = "features"


def all_features(config: BenchConfig) -> list[FeatureSource]:
    """The files given, and one for each of `data` by each of `encoders` in `out/features/`.

    Pictures that were embedded before, by any command, are not embedded again.
    """
    sources = list(config.features)
    for data in config.data:
        name = data.stem if data.is_file() else data.resolve().name
        choices = config.encoder_choices()
        common = {
            "data": data,
            "max_megapixels": config.max_megapixels,
            "runtime": config.runtime,
        }
        every = [make(EmbedConfig, common | encoder.options) for encoder in choices]
        for encoder, options, table in zip(choices, every, embed_each(every), strict=True):
            file = config.out / FEATURES / f"{file_name(name)}_{file_name(encoder.name)}.npz"
            save_features(table, file)
            sources.append(
                FeatureSource(
                    file=file,
                    data=name,
                    encoder=encoder.name,
                    pictures=_folder(data),
                    text=_text(encoder, options),
                    prompts=encoder.prompts,
                )
            )
    return sources


def _text(encoder: EncoderChoice, options: EmbedConfig) -> str:
    """The weights whose text tower belongs to the features, empty where none is to be used."""
    if isinstance(encoder.text, str):
        return encoder.text
    requests = requested_encoders(options)
    if encoder.text is False or len(requests) > 1:
        return ""
    name, file = requests[0].spec.name, requests[0].spec.file
    return f"{name}={file}" if name and file else name or file


def _folder(data: Path) -> Path:
    return data.parent if data.is_file() else data
