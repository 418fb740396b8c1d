"""The methods of pre-training and the forms of guidance, declared without torch.

`--builder` names one of METHODS and `--guidance`, for the methods that leave their loss to it, one
of GUIDANCES. A declaration says where the loss is built, what it is compared with and which options
it reads; checks, banks and teachers of a run follow from it. Other packages add theirs by entry
points of the groups `cvgssl.methods` and `cvgssl.guidances`, NAME = "module:DECLARATION", or by
`METHODS.register`. The module of a declaration is imported for `--help`, so it should not import
torch; the module that `build` names is imported when a run starts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from pydantic.dataclasses import is_pydantic_dataclass

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.extensions import extensions
from cvgssl.runtime.options import fields_of


class MethodOptions(Protocol):
    """What is read here of a run's options, a `pretrain.config.PretrainConfig`."""

    @property
    def builder(self) -> str:
        """The method."""

    @property
    def guidance(self) -> str:
        """The form of guidance."""

    @property
    def bank(self) -> int:
        """Stored views of each kind; 0: none."""


class Targets(Enum):
    """What a loss compares the views of a picture with.

    NONE: each other. VIEWS: the teachers' embeddings of the very same views. MAP: a diffusion map
    of all pictures, one target for each picture whatever the view.
    """

    NONE = "none"
    VIEWS = "views"
    MAP = "map"

    @property
    def need_teachers(self) -> bool:
        """Whether teachers make them."""
        return self is not Targets.NONE

    @property
    def need_bank(self) -> bool:
        """Whether they are made from stored views, so that `--bank off` is impossible."""
        return self is Targets.MAP

    @property
    def stored_by_view(self) -> bool:
        """Whether a bank stores them, so that the student is kept to the stored views."""
        return self is Targets.VIEWS

    @property
    def reads(self) -> tuple[str, ...]:
        """The options that say how they are made."""
        teachers = ("teacher", "teacher_layers", "bank") if self.need_teachers else ()
        return (*teachers, "neighbours") if self is Targets.MAP else teachers


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a method or a form of guidance is, for those that choose and check it.

    build: "module:name" of what makes a `methods.base.Method` from a `methods.base.Setup`; empty
        with by_guidance. targets: what its loss compares views with.
    reads: the options that it reads, without those that every method reads and those that belong
        to its targets. reads_if: further ones, each with a condition on the other options.
    options: a frozen pydantic dataclass of options of its own, which become flags and keys of
        `cvgssl pretrain`; `build` reads them by `Setup.options`.
    requires: a package that `build` imports, and what pip installs to get it.
    by_guidance: whether `--guidance` decides build and targets.
    """

    build: str = ""
    targets: Targets = Targets.NONE
    reads: tuple[str, ...] = ()
    reads_if: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    options: type | None = None
    requires: tuple[str, str] | None = None
    by_guidance: bool = False

    @property
    def may_read(self) -> set[str]:
        """Every option that it reads under some condition."""
        guidance = {"guidance"} if self.by_guidance else set()
        own = fields_of(self.options) if self.options is not None else ()
        return {*self.reads, *self.reads_if, *self.targets.reads, *guidance, *own}

    def reads_now(self, config: MethodOptions) -> set[str]:
        """The options that it reads, the others being as in `config`."""
        idle = {name for name, condition in self.reads_if.items() if not condition(config)}
        return self.may_read - idle


class Registry(Mapping[str, Declaration]):
    """Declarations by name: those of this package, then those of other packages' entry points.

    own: those of this package, for what is said before the others are known.
    group: of the entry points, which are read at the first access, not on import. That raises
    UserError for one that cannot be imported, is no Declaration, or has a name that is taken.
    """

    def __init__(self, group: str, own: Mapping[str, Declaration]) -> None:
        self.group = group
        self.own = dict(own)
        self._declared = dict(own)
        self._complete = False

    def register(self, name: str, declaration: Declaration) -> None:
        """Add one from Python, for this process."""
        if name in self._declared:
            raise UserError(f"{self.group}: {name} is declared twice; give one another name")
        self._declared[name] = declaration

    def __getitem__(self, name: str) -> Declaration:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Declaration]:
        if not self._complete:
            for name, declaration in extensions(self.group).items():
                if not isinstance(declaration, Declaration):
                    raise UserError(f"{self.group}: {name}: no Declaration; repair its package")
                self.register(name, declaration)
            self._complete = True
        return self._declared


_MODULES = "cvgssl.pretrain.methods"
_LIGHTLY = ("lightly", "cvgssl[baselines]")

METHODS = Registry(
    "cvgssl.methods",
    {
        "cvgssl": Declaration(by_guidance=True),
        "distill": Declaration(build=f"{_MODULES}.guided:regression", targets=Targets.VIEWS),
        "mocov3": Declaration(build=f"{_MODULES}.mocov3:MocoV3", reads=("t1", "target_momentum")),
        "simclr": Declaration(build=f"{_MODULES}.simclr:SimClr", requires=_LIGHTLY),
        "byol": Declaration(
            build=f"{_MODULES}.byol:Byol", reads=("target_momentum",), requires=_LIGHTLY
        ),
        "simsiam": Declaration(build=f"{_MODULES}.simsiam:SimSiam", requires=_LIGHTLY),
        "dino": Declaration(
            build=f"{_MODULES}.dino:Dino", reads=("target_momentum",), requires=_LIGHTLY
        ),
    },
)
GUIDANCES = Registry(
    "cvgssl.guidances",
    {
        "published": Declaration(
            build=f"{_MODULES}.cvgssl:Cvgssl",
            targets=Targets.VIEWS,
            reads=("self_constraint", "t1", "adapter_dim"),
            reads_if={
                "self_weight": lambda config: config.self_constraint != "none",
                "margin": lambda config: config.self_constraint == "margin",
            },
        ),
        "regression": Declaration(build=f"{_MODULES}.guided:regression", targets=Targets.VIEWS),
        "relational": Declaration(
            build=f"{_MODULES}.guided:relational",
            targets=Targets.VIEWS,
            reads=("relation_temperature",),
        ),
        "spectral": Declaration(
            build=f"{_MODULES}.guided:spectral",
            targets=Targets.MAP,
            reads=("relation_temperature",),
        ),
    },
)


def own_methods(teachers: bool) -> str:
    """This package's methods that make their own loss with or without teachers, for help texts."""
    return ", ".join(
        name
        for name, method in METHODS.own.items()
        if not method.by_guidance and method.targets.need_teachers == teachers
    )


def own_readers(option: str) -> str:
    """This package's methods and forms of guidance that read an option, for help texts."""
    declared = METHODS.own | GUIDANCES.own
    return ", ".join(name for name, each in declared.items() if option in each.may_read)


@dataclass(frozen=True)
class ChosenMethod:
    """The method that options name.

    flags: the options that name it, for messages. form: the declaration of its loss and targets.
    guidance: name of the form of guidance; empty where the method has none.
    """

    flags: str
    form: Declaration
    guidance: str = ""


def declared_options(taken: Iterable[str]) -> tuple[type, ...]:
    """The dataclasses of options that methods and forms of guidance declare.

    Raises UserError for one that is no frozen pydantic dataclass or has one of the names `taken`.
    """
    added: list[type] = []
    names = set(taken)
    for registry in (METHODS, GUIDANCES):
        for name, declaration in registry.items():
            options = declaration.options
            if options is None or options in added:
                continue
            if not is_pydantic_dataclass(options):
                raise UserError(f"{registry.group}: {name}: its options are no pydantic dataclass")
            twice = sorted(names & fields_of(options).keys())
            if twice:
                raise UserError(
                    f"{registry.group}: {name}: there is an option {twice[0]} already; give its "
                    "own another name"
                )
            names |= fields_of(options).keys()
            added.append(options)
    return tuple(added)


def choose(config: MethodOptions) -> ChosenMethod:
    """The method of `--builder`, and with it that of `--guidance` where it decides."""
    flags, declared = f"--builder {config.builder}", METHODS[config.builder]
    if not declared.by_guidance:
        return ChosenMethod(flags, declared)
    return ChosenMethod(
        f"{flags} --guidance {config.guidance}", GUIDANCES[config.guidance], config.guidance
    )


def options_read(config: MethodOptions) -> set[str]:
    """Which of the options that not every method reads the method of `config` does."""
    return METHODS[config.builder].reads_now(config) | choose(config).form.reads_now(config)


def problems_of_method(config: MethodOptions) -> list[str]:
    """A line for every option that the method of `config` does not read or cannot do without.

    An option counts as given when it is not the default.
    """
    chosen, read = choose(config), options_read(config)
    problems = []
    if chosen.form.targets.need_bank and not config.bank:
        flag = f"--guidance {chosen.guidance}" if chosen.guidance else chosen.flags
        problems.append(f"{flag}: needs stored views; give --bank 8, for example")
    declared = (*METHODS.values(), *GUIDANCES.values())
    optional = set().union(*(declaration.may_read for declaration in declared))
    problems += [
        f"--{name.replace('_', '-')}: has no effect with {chosen.flags}"
        for name, option in fields_of(type(config)).items()
        if name in optional - read and getattr(config, name) != option.default
    ]
    return problems
