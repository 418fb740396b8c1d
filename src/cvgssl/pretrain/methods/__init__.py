"""Methods of pre-training: declared in `registry`, built in one file each."""
