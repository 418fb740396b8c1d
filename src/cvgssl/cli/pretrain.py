"""`cvgssl pretrain DATA`: pre-train a backbone on unlabelled pictures."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

from cvgssl.cli.command import Command
from cvgssl.pretrain.config import PretrainConfig, pretrain_config
from cvgssl.runtime.parsing import counted

SHOWN = 4  # pictures in the figure of views
COMMAND = Command(
    PretrainConfig,
    positional=("data",),
    presets=Path(str(resources.files("cvgssl.pretrain") / "presets")),
)


def run(argv: Sequence[str], prog: str) -> int:
    """Parse the options and do the job."""
    command = replace(COMMAND, config=pretrain_config())
    return run_pretraining(command.parse(argv, prog), prog)


def run_pretraining(config: PretrainConfig, prog: str) -> int:
    """Run the job, print what came of it and how to go on."""
    from cvgssl.pretrain.job import pretrain
    from cvgssl.runtime.launch import is_first_process
    from cvgssl.runtime.stopping import Stopped

    if config.show_views is not None:
        return show_views(config, config.show_views)
    try:
        folder, summary = pretrain(config)
    except Stopped as stopped:
        if is_first_process():
            print(f"{prog}: stopped and saved; go on with: {prog} --resume {stopped.folder}")
        return stopped.exit_code
    if is_first_process():
        epochs, pictures = counted(summary.epochs, "epoch"), counted(summary.pictures, "picture")
        print(f"{epochs} over {pictures}, {summary.seconds:.0f} s")
        print(f"backbone: {folder / 'backbone.safetensors'}")
        print(
            f"use it:   cvgssl finetune {config.data} --arch {config.arch} --pretrained "
            f"{folder / 'backbone.safetensors'} --image-size {config.view_size}"
        )
    return 0


def show_views(config: PretrainConfig, path: Path) -> int:
    """Draw the views of a few pictures; nothing is trained."""
    import torch

    from cvgssl.pretrain.data import load_pretrain_pictures
    from cvgssl.report.views_figure import views_figure
    from cvgssl.runtime.launch import launch

    data = load_pretrain_pictures(config, launch(config.gpu))
    step = max(1, len(data) // SHOWN)
    rows = torch.arange(0, len(data), step)[:SHOWN]
    pictures = torch.from_numpy(data.pixels[rows.numpy()])
    views_figure(pictures, config.recipes, config.seed, path, keys=data.keys[rows])
    print(f"views drawn in {path}")
    return 0
