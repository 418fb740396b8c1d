"""A method and a form of guidance declared outside of the package, as another project would."""

from cvgssl.pretrain.methods.registry import Declaration, Targets

AGREEMENT = Declaration(build="plug_in_losses:Agreement", reads=("t1",))
MATCHING = Declaration(build="plug_in_losses:matching", targets=Targets.VIEWS)
ELSEWHERE = "not a declaration"
