"""Methods of pre-training, one file each."""
