"""The names people know CLIP vision towers by, and timm's for the same. Imports no torch.

OpenAI writes `ViT-B/32`, open_clip `ViT-B-32`. OpenAI's transformers have the QuickGELU activation;
open_clip's have plain GELU unless the name ends in `-quickgelu`. OpenAI's names are also those of
its files, so that a file by OpenAI under open_clip's name is still taken for what it is.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipTower:
    """A vision tower.

    arch: timm's name. size: side of its pictures, pixels. width: of the space that pictures and
    texts share. hub: timm's tag of its best known weights, empty where timm has none.
    """

    name: str
    arch: str
    size: int
    width: int
    hub: str = ""


_OPENAI = (
    ClipTower("RN50", "resnet50_clip", 224, 1024, "openai"),
    ClipTower("RN101", "resnet101_clip", 224, 512, "openai"),
    ClipTower("RN50x4", "resnet50x4_clip", 288, 640, "openai"),
    ClipTower("RN50x16", "resnet50x16_clip", 384, 768, "openai"),
    ClipTower("RN50x64", "resnet50x64_clip", 448, 1024, "openai"),
    ClipTower("ViT-B/32", "vit_base_patch32_clip_quickgelu_224", 224, 512, "openai"),
    ClipTower("ViT-B/16", "vit_base_patch16_clip_quickgelu_224", 224, 512, "openai"),
    ClipTower("ViT-L/14", "vit_large_patch14_clip_quickgelu_224", 224, 768, "openai"),
    ClipTower("ViT-L/14@336px", "vit_large_patch14_clip_quickgelu_336", 336, 768, "openai"),
)

_OPEN_CLIP = (
    ClipTower("ViT-B-32", "vit_base_patch32_clip_224", 224, 512, "laion2b"),
    ClipTower("ViT-B-32-256", "vit_base_patch32_clip_256", 256, 512, "datacompxl"),
    ClipTower("ViT-B-16", "vit_base_patch16_clip_224", 224, 512, "laion2b"),
    ClipTower("ViT-B-16-plus-240", "vit_base_patch16_plus_clip_240", 240, 640, "laion400m_e32"),
    ClipTower("ViT-L-14", "vit_large_patch14_clip_224", 224, 768, "laion2b"),
    ClipTower("ViT-L-14-336", "vit_large_patch14_clip_336", 336, 768),
    ClipTower("ViT-H-14", "vit_huge_patch14_clip_224", 224, 1024, "laion2b"),
    ClipTower("ViT-H-14-378", "vit_huge_patch14_clip_378", 378, 1024),
    ClipTower("ViT-g-14", "vit_giant_patch14_clip_224", 224, 1024, "laion2b"),
    ClipTower("ViT-bigG-14", "vit_gigantic_patch14_clip_224", 224, 1280, "laion2b"),
    ClipTower("EVA02-B-16", "eva02_base_patch16_clip_224", 224, 512, "merged2b"),
    ClipTower("EVA02-L-14", "eva02_large_patch14_clip_224", 224, 768, "merged2b"),
    ClipTower("EVA02-L-14-336", "eva02_large_patch14_clip_336", 336, 768, "merged2b"),
    ClipTower("convnext_base_w", "convnext_base", 256, 640),
    ClipTower("convnext_base_w_320", "convnext_base", 320, 640),
    ClipTower("convnext_large_d", "convnext_large", 256, 768),
    ClipTower("convnext_large_d_320", "convnext_large", 320, 768),
)

# their vision towers are OpenAI's, whose ReLU no name changes: the text towers differ
_QUICK_RESNETS = (
    ClipTower("RN50-quickgelu", "resnet50_clip", 224, 1024, "openai"),
    ClipTower("RN101-quickgelu", "resnet101_clip", 224, 512, "openai"),
    ClipTower("RN50x4-quickgelu", "resnet50x4_clip", 288, 640, "openai"),
    ClipTower("RN50x16-quickgelu", "resnet50x16_clip", 384, 768, "openai"),
    ClipTower("RN50x64-quickgelu", "resnet50x64_clip", 448, 1024, "openai"),
)

_QUICK = (
    ClipTower("ViT-B-32-quickgelu", "vit_base_patch32_clip_quickgelu_224", 224, 512, "openai"),
    ClipTower("ViT-B-16-quickgelu", "vit_base_patch16_clip_quickgelu_224", 224, 512, "openai"),
    ClipTower("ViT-L-14-quickgelu", "vit_large_patch14_clip_quickgelu_224", 224, 768, "openai"),
    ClipTower("ViT-L-14-336-quickgelu", "vit_large_patch14_clip_quickgelu_336", 336, 768, "openai"),
    ClipTower("ViT-H-14-quickgelu", "vit_huge_patch14_clip_quickgelu_224", 224, 1024, "dfn5b"),
    ClipTower("ViT-H-14-378-quickgelu", "vit_huge_patch14_clip_quickgelu_378", 378, 1024, "dfn5b"),
)


def _siglip() -> list[ClipTower]:
    """SigLIP and SigLIP 2: attention pooling, no projection after it."""
    kinds = (
        ("B-16", "base_patch16", 768, (224, 256, 384, 512), (224, 256, 384, 512)),
        ("B-32", "base_patch32", 768, (), (256,)),
        ("L-16", "large_patch16", 1024, (256, 384), (256, 384, 512)),
        ("SO400M-14", "so400m_patch14", 1152, (224, 378, 384), (224, 378)),
        ("SO400M-16", "so400m_patch16", 1152, (), (256, 384, 512)),
    )
    return [
        ClipTower(
            f"ViT-{short}-SigLIP{version}" + (f"-{size}" if size != 224 else ""),
            f"vit_{long}_siglip_{size}",
            size,
            width,
            tag,
        )
        for short, long, width, first, second in kinds
        for version, sizes, tag in (("", first, "webli"), ("2", second, "v2_webli"))
        for size in sizes
    ]


TOWERS = {
    tower.name: tower for tower in (*_OPENAI, *_OPEN_CLIP, *_QUICK_RESNETS, *_QUICK, *_siglip())
}
_LOWER = {name.lower(): tower for name, tower in TOWERS.items()}


def clip_tower(name: str) -> ClipTower | None:
    """The tower of that name, upper and lower case alike; None for any other name."""
    return _LOWER.get(name.lower())


def clip_name(arch: str) -> str:
    """The best known name of timm's `arch`; `arch` itself where there is none."""
    return next((tower.name for tower in TOWERS.values() if tower.arch == arch), arch)
