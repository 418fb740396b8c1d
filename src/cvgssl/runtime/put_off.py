"""Imports that are put off until something of the module is used."""

import importlib
import importlib.util
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def put_off(functions: Mapping[str, Collection[str]]) -> Iterator[None]:
    """Inside the block stand-ins are imported for slow modules that are not there already.

    functions: for each module those that are taken from it by `from MODULE import f` and not used
    meanwhile; they are stood in for, too. Using one, or anything else of the module, imports it.
    """
    modules = [_Module(name, taken) for name, taken in functions.items()]
    for module in filter(_is_installed, modules):
        sys.modules.setdefault(module.__name__, module)
    try:
        yield
    finally:
        for module in modules:
            module.leave()


def _is_installed(module: ModuleType) -> bool:
    package = module.__name__.partition(".")[0]  # looking for a part would import the package
    return package in sys.modules or importlib.util.find_spec(package) is not None


class _Module(ModuleType):
    def __init__(self, name: str, functions: Collection[str]) -> None:
        super().__init__(name)
        for each in functions:
            vars(self)[each] = _Function(self, each)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of whoever looks through all modules
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(self.__name__), name)

    def leave(self) -> None:
        """Let the next import find the module itself."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


class _Function:
    """Also for objects with methods, such as the distributions of scipy.stats."""

    def __init__(self, module: _Module, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *words: Any, **named: Any) -> Any:
        return self._itself()(*words, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._itself(), name)

    def _itself(self) -> Any:
        self._module.leave()
        return getattr(importlib.import_module(self._module.__name__), self._name)
