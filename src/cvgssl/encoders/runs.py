"""The runs of a frozen network: by torch or compiled, whatever is taken from it."""

import logging
from collections.abc import Iterable

from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.compiled_run import CompiledRun, NotConvertedError
from cvgssl.encoders.network_run import NetworkRun, Run
from cvgssl.encoders.programs import TORCH, chosen_program
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import Runtime

log = logging.getLogger(__name__)


class Runs:
    """Makes each run of a network once.

    name: for messages. What runs the network is decided by the first run that is made with the same
    options: where that cannot be compiled, torch runs it, which with `auto` is a line in the log,
    and an error where a compiler was asked for.
    """

    def __init__(self, backbone: Backbone, name: str) -> None:
        self.backbone, self.name = backbone, name
        self._made: dict[tuple[tuple[int, ...], bool, str, str], Run] = {}
        self._programs: dict[tuple[str, str], str] = {}

    def make(
        self,
        layers: Iterable[int] = (),
        with_output: bool = True,
        runtime: Runtime = "torch",
        precision: str = "fp32",
    ) -> Run:
        """A run that takes these layers (places from 0) and the output; raises UserError."""
        key = (tuple(sorted(set(layers))), with_output, runtime, precision)
        if key not in self._made:
            self._made[key] = self._run(NetworkRun(self.backbone, *key[:2]), runtime, precision)
        return self._made[key]

    def program(
        self, layers: Iterable[int], with_output: bool, runtime: Runtime, precision: str
    ) -> str:
        """What makes such a run; only the first of a network is made to know it."""
        if (runtime, precision) not in self._programs:
            self.make(layers, with_output, runtime, precision)
        return self._programs[runtime, precision]

    def _run(self, run: NetworkRun, runtime: Runtime, precision: str) -> Run:
        known = self._programs.get((runtime, precision))
        program = known or chosen_program(runtime, precision)
        made: Run = run
        if program != TORCH:
            try:
                made = CompiledRun(run, precision, program)
            except NotConvertedError as error:
                if runtime != "auto" or known:
                    raise UserError(
                        f"--runtime {program.partition(' ')[0]}: {self.name} cannot be converted "
                        f"({error}); use --runtime torch"
                    ) from error
                package = program.partition(" ")[0]
                log.warning("%s: is run by torch, for %s cannot (%s)", self.name, package, error)
        if made is not run and not known:
            log.info("%s: is run by %s", self.name, program)
        self._programs[runtime, precision] = made.program
        return made
