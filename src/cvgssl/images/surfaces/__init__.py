"""Generated pictures of hot-rolled steel with six kinds of defect, in the manner of NEU-CLS."""

from cvgssl.images.surfaces.synthesize import KINDS, ImageFormat, generate_surface, synthesize

__all__ = ["KINDS", "ImageFormat", "generate_surface", "synthesize"]
