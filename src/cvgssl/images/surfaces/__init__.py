"""Generated pictures of hot-rolled steel with six kinds of defect, in the manner of NEU-CLS."""

from cvgssl.images.surfaces.exposures import generate_surface
from cvgssl.images.surfaces.kinds import KINDS
from cvgssl.images.surfaces.plan import Plant
from cvgssl.images.surfaces.synthesize import synthesize

__all__ = ["KINDS", "Plant", "generate_surface", "synthesize"]
