"""A method and a form of guidance declared outside of the package, as another project would."""

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.pretrain.methods.registry import Declaration, Targets
from cvgssl.runtime.options import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AgreementOptions:
    """What agreement reads."""

    sharpness: float = Field(default=1.0, gt=0, description="factor of the loss")


AGREEMENT = Declaration(build="plug_in_losses:Agreement", reads=("t1",), options=AgreementOptions)
MATCHING = Declaration(build="plug_in_losses:matching", targets=Targets.VIEWS)
ELSEWHERE = "not a declaration"
