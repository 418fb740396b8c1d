"""How a data folder is laid out: train/ and test/, or one folder of classes.

Folders that are a split under another name ("training", "val") are refused, not taken for
classes; so are class folders beside train/ and test/, which would be left out.
"""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from cvgssl.images.listing import has_pictures, subfolders
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import printable

HALVES = ("train", "test")

_WORDS = """train training trains trn trainval trainieren trainings lernen entrenamiento
    entrainement apprentissage addestramento treino
    test testing tests tst testen pruefung prufung prueba prova
    val validation validate validierung validacion evaluation holdout heldout
    训练 训练集 訓練 訓練集 学習 学習用 测试 测试集 測試 測試集 テスト テスト用
    验证 验证集 驗證 驗證集 検証 検証用 校验 校验集
    treinamento teste validacao обучение обучающая тренировка тест тестовая валидация проверка
    학습 훈련 시험 테스트 검증"""
_SPLIT_WORDS = frozenset(_WORDS.split())
# can be the name of a class too ("valid" and "invalid"): splits only among other splits
_OFTEN = """valid dev devel eval learn learning check fold seen unseen source target support query
    gallery labeled unlabeled labelled unlabelled"""
_PERHAPS = frozenset(_OFTEN.split())
_WHAT_OF = re.compile(
    "(?:set|data|daten|datensatz|images?|imgs?|pictures?|bilder|split|menge|データ|数据|數據)$"
)
_PARTS = re.compile(r"[\W\d_]+")


@dataclass(frozen=True)
class FolderLayout:
    """halves: the folders train and test that are there; none: one folder of classes.

    beside: folders with pictures that are splits under other names, beside train or test; they
    are left out.
    """

    halves: dict[str, Path]
    beside: tuple[Path, ...] = ()


def layout_of(data: Path) -> FolderLayout:
    """How the folder `data` is laid out.

    Raises UserError where folders are splits under other names, or where some folders are splits
    and others, with pictures, are not.
    """
    folders = subfolders(data)
    halves: dict[str, Path] = {}
    for path in folders:
        if (name := path.name.lower()) in HALVES:
            if name in halves:
                raise UserError(
                    f"{data}: has both {halves[name].name}/ and {path.name}/; keep one of them"
                )
            halves[name] = path
    splits, classes = _split_folders(
        [path for path in folders if path not in halves.values()], halves
    )
    if classes and len(halves) == 2:
        raise UserError(
            f"{data}: {_shown(classes)} beside train/ and test/ would be left out; move "
            f"{'it' if len(classes) == 1 else 'them'} into these, or out of {data}"
        )
    if classes and (halves or splits):
        raise UserError(
            f"{data}: {_shown([*halves.values(), *splits])} beside {_shown(classes)}: is it a "
            "split or a class? put the classes into train/ and test/, or rename it if it is a class"
        )
    if splits and not halves:
        raise UserError(_renamed(data, splits))
    if not halves:
        _check_inside(data, folders)
    return FolderLayout(halves, tuple(splits))


def check_split_words(data: Path) -> None:
    """Raise UserError when all folders in `data` are splits, but under other names than test.

    For folders of unlabelled pictures: there, too, pictures for testing must be recognized.
    """
    folders = subfolders(data)
    if not any(path.name.lower() in HALVES for path in folders):
        splits, others = _split_folders(folders, {})
        if splits and not others:
            raise UserError(_renamed(data, splits))


def _split_folders(folders: list[Path], halves: dict[str, Path]) -> tuple[list[Path], list[Path]]:
    """Folders with pictures: those that are splits by their names, and the others."""
    likely = [path for path in folders if _is_split_word(path.name)]
    perhaps = [path for path in folders if _plain(path.name) in _PERHAPS]
    others = [path for path in folders if path not in likely and path not in perhaps]
    if not halves and not likely and (others or len(perhaps) < 2):
        in_names = {_split_word_in(path.name) for path in folders}
        if "" in in_names or len(in_names) < 2:
            return [], []
        others, perhaps = [], folders  # images_train and images_test
    splits = [path for path in (*likely, *perhaps) if has_pictures(path)]
    return splits, [path for path in others if has_pictures(path)]


def _renamed(data: Path, splits: list[Path]) -> str:
    return (
        f"{data}: {_shown(splits)} {'is a split' if len(splits) == 1 else 'are splits'} under "
        "another name, not classes; rename the folder to learn from train and the one to test on "
        "test"
    )


def _check_inside(data: Path, folders: list[Path]) -> None:
    """Raise UserError when every class folder has its own splits in it."""
    if not folders:
        return
    inside = [subfolders(path) for path in folders]
    if all(len(paths) > 1 and all(_is_split_word(path.name) for path in paths) for paths in inside):
        name, first = folders[0].name, inside[0][0].name
        raise UserError(
            f"{data}: each folder has its own splits ({printable(name)}/{printable(first)}); put "
            "them the other way about: train/CLASS and test/CLASS"
        )


def _is_split_word(name: str) -> bool:
    return _plain(name) in _SPLIT_WORDS


def _split_word_in(name: str) -> str:
    """The first or last word of a name such as `steel_train`, when it says a split; else ""."""
    words = [_plain(word) for word in _PARTS.split(name) if word]
    return next((word for word in [*words[:1], *words[-1:]] if word in _SPLIT_WORDS), "")


def _plain(name: str) -> str:
    """`Train_Set-2017` is `train`: letters without marks, case, digits and words like "set"."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    bare = "".join(c for c in letters if c.isalpha())
    composed = unicodedata.normalize("NFKC", "".join(c for c in name.casefold() if c.isalpha()))
    composed = _WHAT_OF.sub("", composed) or composed
    if composed in _SPLIT_WORDS:
        return composed
    return _WHAT_OF.sub("", bare) or bare


def _shown(folders: list[Path]) -> str:
    names = [f"{printable(path.name)}/" for path in folders]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
