"""What distinguishes a pre-training run from others, for its folder."""

from collections.abc import Mapping
from typing import Any

from cvgssl.encoders.frozen_encoder import check_identity
from cvgssl.pretrain.inputs import TrainingInputs
from cvgssl.runtime.errors import UserError, naming
from cvgssl.runtime.run import RunKind


def run_kind(inputs: TrainingInputs) -> RunKind:
    """Its pictures and teachers must be the same when it is resumed."""
    config, teachers, pictures = inputs.config, inputs.teachers, inputs.data.pictures.digest

    def check(recorded: Mapping[str, Any]) -> None:
        flag = f"--resume {config.resume}"
        if recorded["pictures_sha256"] != pictures:
            raise UserError(f"{flag}: the pictures changed since the run started; start a new run")
        if len(recorded["teachers"]) != len(teachers):
            raise UserError(f"{flag}: the run had {len(recorded['teachers'])} teachers")
        for before, teacher in zip(recorded["teachers"], teachers, strict=True):
            with naming(f"--teacher {teacher.name}"):
                check_identity(before, teacher)

    facts = {
        "pictures_sha256": pictures,
        "teachers": [teacher.identity() for teacher in teachers],
    }
    arch = config.arch.replace(":", "-").partition(",")[0]
    name = f"{config.data.resolve().stem}_{arch}_pretrain_{config.builder}"
    return RunKind("pretrain", name, facts, check)
