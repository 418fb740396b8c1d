"""Which frozen encoders guide a run."""

from collections.abc import Sequence
from dataclasses import replace

from cvgssl.encoders.encoder_spec import EncoderSpec, parse_encoder
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.encoders.loading import available_clip_encoders, load_encoders
from cvgssl.encoders.weights_folder import weights_folder
from cvgssl.features.pooling import Pooling
from cvgssl.runtime.errors import UserError


def choose_teachers(named: Sequence[str], layers: Sequence[int] = ()) -> tuple[FrozenEncoder, ...]:
    """The named teachers, or without names the only CLIP file in the weights folder.

    Where the folder holds none, the one that comes with the installation. layers: depths of
    each, from 1 or from the end below 0, that are pooled in place of its output. Raises UserError
    when none is named and the folder holds several, and for layers that a teacher does not have.
    """
    specs = [parse_encoder(text, "--teacher") for text in named]
    teachers = _named_or_default(specs)
    for number, teacher in enumerate(teachers):
        spec = specs[number] if specs else EncoderSpec("")
        if spec.layers or spec.pooling:
            _pool_layers(teacher, spec.layers, spec.pooling, f"--teacher {spec}")
        elif layers:
            _pool_layers(teacher, layers, "", f"--teacher-layers {' '.join(map(str, layers))}")
    return teachers


def _pool_layers(
    teacher: FrozenEncoder, layers: Sequence[int], pooling_ways: str, flag: str
) -> None:
    """Make `teacher` embed by what these depths are pooled to.

    pooling_ways: joined by +; empty: class token (if it has one) and patch mean.
    """
    has_class_token = getattr(teacher.backbone.body, "cls_token", None) is not None
    usual = ("cls", "mean") if has_class_token else ("mean",)
    ways = tuple(pooling_ways.split("+")) if pooling_ways else usual
    try:
        pooling = Pooling(teacher.backbone, ways, layers)
    except UserError as error:
        raise UserError(f"{flag}: {str(error).partition(': ')[2]}") from error
    identity = {"layers": list(pooling.layers), "pooling": list(ways)}
    teacher.pool(pooling, pooling.widths, identity)


def _named_or_default(named: Sequence[EncoderSpec]) -> tuple[FrozenEncoder, ...]:
    if named:
        return tuple(load_encoders(named))
    folder = weights_folder()
    available = available_clip_encoders(folder)
    if len(available) > 1:
        listed = ", ".join(map(str, available))
        raise UserError(f"--teacher: name one or more of those in {folder}: {listed}")
    if available:
        return tuple(load_encoders(available))
    (default,) = load_encoders([INSTALLED])
    why = f"the default, as no --teacher is named and {folder} holds no CLIP file"
    default.source = replace(default.source, notes=(*default.source.notes, why))
    return (default,)
