"""Forms of guidance: how frozen teachers act on a student's features, one file each.

To add one: a `Guidance` in a file of its own, a name in `cvgssl.pretrain.config.Guidance` and an
entry in `build_guidance`.
"""
