"""Features of a benchmark's own data sets and encoders, where it is not given files of them."""

from pathlib import Path

from cvgssl.bench.config import BenchConfig
from cvgssl.bench.entries import EncoderChoice, FeatureSource
from cvgssl.bench.recorded import file_name
from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import Embedded, embed_each
from cvgssl.features.encoder_requests import requested_encoders
from cvgssl.features.mirrors import embed_mirrored_train
from cvgssl.features.table import FeatureTable, save_features
from cvgssl.heads import ALL_HEADS
from cvgssl.heads.base import takes_views
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
        embedded = list(embed_each(every))
        mirrored = _mirrored(config, list(zip(embedded, every, strict=True)))
        for encoder, options, pictures, mirrors in zip(
            choices, every, embedded, mirrored, strict=True
        ):
            stem = config.out / FEATURES / f"{file_name(name)}_{file_name(encoder.name)}"
            file, beside = stem.with_name(f"{stem.name}.npz"), None
            save_features(pictures.table, file)
            if mirrors is not None:
                beside = stem.with_name(f"{stem.name}.mirrored.npz")
                save_features(mirrors, beside)
            sources.append(
                FeatureSource(
                    file=file,
                    data=name,
                    encoder=encoder.name,
                    pictures=_folder(data),
                    text=_text(encoder, options),
                    prompts=encoder.prompts,
                    mirrored=beside,
                )
            )
    return sources


def _mirrored(
    config: BenchConfig, every: list[tuple[Embedded, EmbedConfig]]
) -> list[FeatureTable | None]:
    """What labelled pictures look like in mirrors to each encoder, where a head looks at it."""
    if not any(takes_views(ALL_HEADS[choice.head]) for choice in config.choices()):
        return [None] * len(every)
    return embed_mirrored_train(every, config.support_flips)


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
