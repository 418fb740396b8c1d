"""Ways of preparing embeddings by name, for options and estimators; imports nothing slow."""

from typing import Literal

PreparationMode = Literal["power", "center", "none", "standardize", "whiten"]
