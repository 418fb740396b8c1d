"""Commands, weights and features that several parts of the corpus need."""

from pathlib import Path

from benchmarks.fuzz.targets import called

SELECT = ("select", "--budget", "2", "--strategy", "random", "--out", "selection")
TINY = ("--encoder", "test_vit=tiny.safetensors")
PRETRAIN = (
    *("pretrain", "steel", "--arch", "test_resnet", "--teacher", "test_vit=tiny.safetensors"),
    *("--guidance", "relational", "--image-size", "48", "--view-size", "32", "--batch-size", "9"),
    *("--nmb-crops", "1", "--min-scale-crops", "0.2", "--max-scale-crops", "1", "--bank", "1"),
    *("--mlp-dim", "32", "--out-dim", "16", "--bank-dir", "bank", "--warmup-epochs", "0"),
)


def weights(folder: Path) -> None:
    """Write the weights of a tiny network in every container."""
    import torch
    from safetensors.torch import save_file

    from cvgssl.encoders.timm_import import timm

    torch.manual_seed(0)
    net = timm.create_model("test_vit", num_classes=0).eval()
    state = net.state_dict()
    save_file(state, folder / "tiny.safetensors")
    torch.save(state, folder / "tiny.pth")
    torch.save(
        {"epoch": 3, "state_dict": state, "arch": "test_vit"},
        folder / "old.pth",
        _use_new_zipfile_serialization=False,
    )
    traced = torch.jit.trace(net, torch.zeros(1, 3, 160, 160), check_trace=False)
    traced.save(str(folder / "traced.pt"))


def embedded(folder: Path) -> None:
    """Write the features file that several parts need."""
    if not (folder / "steel.npz").exists():
        called(folder, "embed", "steel", *TINY, "--image-size", "32", "--out", "steel.npz")
