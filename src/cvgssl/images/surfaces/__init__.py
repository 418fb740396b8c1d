"""Generated pictures of hot-rolled steel with six kinds of defect, in the manner of NEU-CLS."""

from cvgssl.images.surfaces.generate import KINDS, generate_surface
from cvgssl.images.surfaces.synthesize import ImageFormat, synthesize

__all__ = ["KINDS", "ImageFormat", "generate_surface", "synthesize"]
