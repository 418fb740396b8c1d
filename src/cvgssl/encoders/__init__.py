"""From pixels to features: backbones and the files that hold their weights."""
