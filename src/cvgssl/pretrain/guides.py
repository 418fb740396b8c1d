"""Which frozen encoders guide a run."""

from collections.abc import Sequence

from cvgssl.encoders.teacher import Teacher
from cvgssl.encoders.teachers import available_teachers, load_teachers
from cvgssl.encoders.weights_folder import weights_folder
from cvgssl.runtime.errors import UserError


def choose_teachers(named: Sequence[str]) -> tuple[Teacher, ...]:
    """The teachers that the user named, else the only CLIP file in the weights folder.

    Raises UserError when none is named and there is none, or more than one.
    """
    if named:
        return tuple(load_teachers(list(named)))
    folder = weights_folder()
    found = available_teachers(folder)
    if len(found) == 1:
        return tuple(load_teachers(found))
    listed = f"; {folder} has {', '.join(map(str, found))}"
    listed = listed if found else f"; {folder} holds no CLIP file"
    raise UserError(f"--teacher: name a frozen encoder, such as ViT-B/32=FILE{listed}")
