"""Make the small guide that comes with the package, from nothing but generated pictures.

    python recipes/embedded_guide.py OUT

Pictures: `PICTURES` generated surfaces of steel, each kind of defect on each kind of plate (so
that the plate says nothing of the defect), one in four with a second defect. The generator knows
all about them, so the network learns, from random crops:

- which defects are there (binary cross-entropy),
- what the plate, its light and the camera are like (smooth L1 on standardized numbers),
- how the defect alone looks in this very crop: its share of the area and its edges at four
  scales, from a picture of the defect without its plate (the same),
- which other crop is of the same picture (InfoNCE).

Nothing but generated pictures is looked at. HEADLINE
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.images.surfaces.cracks import crazing, scratches
from cvgssl.images.surfaces.generate import KINDS, generate_surface
from cvgssl.images.surfaces.light import expose
from cvgssl.images.surfaces.pits import pitted_surface, rolled_in_scale
from cvgssl.images.surfaces.plate import Coil, Usual, draw_coil, ground
from cvgssl.images.surfaces.stains import inclusion, patches
from cvgssl.pretrain.contrastive import info_nce
from cvgssl.runtime.files import sha256_file, writing
from cvgssl.runtime.progress import progress
from cvgssl.views.random_views import ViewParameters, draw, render
from cvgssl.views.recipe import ViewRecipe

DEFECTS = (crazing, inclusion, patches, pitted_surface, rolled_in_scale, scratches)  # as KINDS
PLATES = Usual(brightness=(45, 230), grain=(0.015, 0.15))
