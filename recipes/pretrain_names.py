"""What the rows of pretrain_real.sh are called in tables and pictures."""

NAMES = {
    "deep-init": "ViT-Tiny continued from the teacher (`--preset continue`)",
    "deep": "spectral guidance by three depths",
    "spectral": "spectral guidance (the default)",
    "spectral-two-teachers": "spectral guidance, ViT-Tiny and SqueezeNet",
    "spectral-14-epochs": "spectral guidance, 14 epochs (half)",
    "spectral-20-epochs": "spectral guidance, 20 epochs (less than half)",
    "relational": "relational guidance, bank of 4 versions",
    "relational-bank-1": "relational guidance, bank of 1 version",
    "relational-no-bank": "relational guidance, no bank",
    "regression": "regression guidance, bank of 4 versions",
    "published": "published objective",
    "published-margin": "published objective, self-constraint with margin",
    "published-none": "published objective, no self-constraint",
    "published-two-teachers": "published objective, ViT-Tiny and SqueezeNet",
    "paper": "published recipe, 224 px, 6 of 300 epochs",
    "simclr": "SimCLR, no teacher",
    "mocov3": "MoCo v3, no teacher",
    "byol": "BYOL, no teacher",
    "simsiam": "SimSiam, no teacher",
    "dino": "DINO, no teacher",
    "teacher": "frozen ViT-Tiny, the teacher itself",
    "squeezenet-frozen": "frozen SqueezeNet",
    "random": "random weights, no training",
}
RUNS = {"-another-run": ", second run", "-third-run": ", third run"}


def method(row: str) -> tuple[str, str]:
    """Of `NEU-CLS_spectral-another-run`: `spectral` and `, second run`."""
    plain = row.partition("_")[2]
    for end, words in RUNS.items():
        if plain.endswith(end):
            return plain.removesuffix(end), words
    return plain, ""


def title(row: str) -> str:
    """A reader's name of a row, with the run it is."""
    name, run = method(row)
    return NAMES.get(name, name) + run
