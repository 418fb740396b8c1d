"""Few-shot heads: scikit-learn classifiers on features, -1 for unlabelled rows.

The tables below name them all: `HEADS` need features and labels only, `TEXT_HEADS` also text
embeddings of the classes, `ALL_HEADS` are both. A new head is one line here. A head of another
package is an entry point of that package in the group `cvgssl.heads`, and then in `HEADS`:

    [project.entry-points."cvgssl.heads"]
    my-head = "my_package.module:MyHead"

Names need no import, so that options and `--help` are quick; a head's module is imported when the
head is asked for.
"""

import importlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cvgssl.runtime.errors import UserError

if TYPE_CHECKING:
    from cvgssl.heads.base import FewShotHead
    from cvgssl.heads.open_set import CalibratedHead, OpenSetHead
    from cvgssl.heads.text import TextHead

__all__ = [
    "ALL_HEADS", "HEADS", "TEXT_HEADS", "CalibratedHead", "FewShotHead", "OpenSetHead",
    "own_parameters",
]  # fmt: skip

GROUP = "cvgssl.heads"
Head = TypeVar("Head", bound="FewShotHead")


class HeadTable(Mapping[str, type[Head]], Generic[Head]):
    """Heads by name, each imported when it is asked for.

    own: "module:Class" by name, of this package.
    group: of entry points whose heads are in the table too.
    """

    def __init__(self, own: Mapping[str, str], group: str = "") -> None:
        self._own, self.group = dict(own), group

    @cached_property
    def _places(self) -> dict[str, EntryPoint]:
        places = {name: EntryPoint(name, place, GROUP) for name, place in self._own.items()}
        for point in entry_points(group=self.group) if self.group else ():
            if point.name in places:
                package = point.dist.name if point.dist is not None else point.value
                raise UserError(
                    f"{package}: its head {point.name} has the name of another one; rename its "
                    f"entry point in {self.group}, or uninstall {package}"
                )
            places[point.name] = point
        return places

    def __getitem__(self, name: str) -> type[Head]:
        point = self._places[name]
        if name in self._own:
            head: type[Head] = point.load()
            return head
        return _outside(point)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _outside(point: EntryPoint) -> "type[FewShotHead]":
    """The head of another package; raises UserError where it is none."""
    from cvgssl.heads.base import FewShotHead

    where = f"head {point.name} ({point.value}, an entry point in {GROUP})"
    try:
        head = point.load()
    except Exception as error:  # whatever that package does when it is imported
        raise UserError(f"{where}: cannot be imported: {error}") from error
    if not (isinstance(head, type) and issubclass(head, FewShotHead)):
        raise UserError(f"{where}: is no subclass of cvgssl.FewShotHead")
    return head


_HEADS = {
    "nearest-mean": "cvgssl.heads.nearest_mean:NearestMean",
    "knn": "cvgssl.heads.nearest_mean:CosineKnn",
    "ridge": "cvgssl.heads.linear:Ridge",
    "logistic": "cvgssl.heads.linear:Logistic",
    "discriminant": "cvgssl.heads.linear:Discriminant",
    "tip-adapter": "cvgssl.heads.nearest_mean:TipAdapter",
    "kernel-ridge": "cvgssl.heads.linear:KernelRidge",
    "propagation": "cvgssl.heads.propagation:LabelPropagation",
    "laplacian-shot": "cvgssl.heads.laplacian:LaplacianShot",
    "diffusion": "cvgssl.heads.diffusion:DiffusionHead",
    "mixture": "cvgssl.heads.mixture:MixtureHead",
    "transport": "cvgssl.heads.transport:TransportHead",
    "auto": "cvgssl.heads.auto:AutoHead",
}
_TEXT_HEADS = {
    "zero-shot": "cvgssl.heads.text:ZeroShot",
    "text-tip": "cvgssl.heads.text:TextTip",
    "text-ridge": "cvgssl.heads.text_ridge:TextRidge",
}

HEADS: "HeadTable[FewShotHead]" = HeadTable(_HEADS, GROUP)
TEXT_HEADS: "HeadTable[TextHead]" = HeadTable(_TEXT_HEADS)
ALL_HEADS: "HeadTable[FewShotHead]" = HeadTable(_HEADS | _TEXT_HEADS, GROUP)

_OF_TEXTS = ("anchors", "classes", "anchor_scale")


def own_parameters(name: str) -> dict[str, Any]:
    """The parameters of a head of `ALL_HEADS` and their defaults, without what texts give."""
    params: dict[str, Any] = ALL_HEADS[name]().get_params()
    return {key: params[key] for key in params if name not in TEXT_HEADS or key not in _OF_TEXTS}


_HOMES = {
    "CalibratedHead": "cvgssl.heads.open_set",
    "FewShotHead": "cvgssl.heads.base",
    "OpenSetHead": "cvgssl.heads.open_set",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cvgssl.heads' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
