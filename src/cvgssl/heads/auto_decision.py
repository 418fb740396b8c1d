"""What decided in the head `auto`: kept as JSON values, and said in words."""

from dataclasses import dataclass

from cvgssl.heads.diffusion import LEAST_ROWS

FEW_UNLABELLED = f"fewer than {LEAST_ROWS} unlabelled pictures"
MAP_AGREES = "the map separates fewer neighbours"
MAP_DISAGREES = "the map separates no fewer neighbours"


@dataclass(frozen=True)
class AutoDecision:
    """What decided in `AutoHead`; all fields are JSON values.

    Parameters
    ----------
    candidates : tuple of str
        Heads in the mean: kernel-ridge (labels alone), and where the gate is open diffusion and
        transport.
    gate_open : bool
        Whether unlabelled pictures are used.
    reason : str
        Why, in one sentence.
    unlabelled, held_out : int
        Unlabelled pictures; labels that were held out in turn. Without any the prior decides.
    agreement : float or None
        Share of the unlabelled pictures that diffusion and transport name alike; None where they
        are no candidates.
    crossed : tuple of float or None
        Share of the neighbour graph's edge weight between pictures that get different classes by
        diffusion, and by labels alone. None with too few unlabelled pictures.
    weights, temperatures : tuple of float
        Of the candidates; each head's probabilities are scaled by its temperature.
    temperature : float
        Of their mean; a single candidate is scaled by its own temperature, then by this one.
    """

    candidates: tuple[str, ...]
    gate_open: bool
    reason: str
    unlabelled: int
    held_out: int
    agreement: float | None
    crossed: tuple[float, float] | None
    weights: tuple[float, ...]
    temperatures: tuple[float, ...]
    temperature: float

    @property
    def ground(self) -> str:
        """Why the gate is open or not, without figures, to be counted over several decisions."""
        if self.crossed is None:
            return FEW_UNLABELLED
        return MAP_AGREES if self.gate_open else MAP_DISAGREES

    def __str__(self) -> str:
        """Two lines: whether unlabelled pictures are used and why; what is averaged and why."""
        used = "used" if self.gate_open else "not used"
        first = f"unlabelled pictures are {used} by this head: {self.reason}"
        own = ", ".join(map("{:.2f}".format, self.temperatures))
        scaled = f"temperature {self.temperature:.2f}"
        if self.held_out:
            scaled = f"temperature of each {own}, then of the answer {self.temperature:.2f}"
        if len(self.candidates) == 1:
            return f"{first}\nthe answer is that of {self.candidates[0]}; {scaled}"
        *shares, last = (
            f"{100 * weight:.0f} % {name}"
            for name, weight in zip(self.candidates, self.weights, strict=True)
        )
        source = (
            f"weighted by how well each predicted {self.held_out} labels held out in turn"
            if self.held_out
            else "by default, as no label could be held out"
        )
        if self.agreement is not None:
            agreed = f"{100 * self.agreement:.0f} % of the unlabelled pictures"
            source += f", and as diffusion and transport agree on {agreed}"
        return f"{first}\nthe answer is {', '.join(shares)} and {last}, {source}; {scaled}"


def reason_of(crossed: tuple[float, float] | None, unlabelled: int) -> str:
    """Why unlabelled pictures are used or not; the arguments are those of `AutoDecision`."""
    if crossed is None:
        return f"{unlabelled} unlabelled ones are too few, it needs {LEAST_ROWS}"
    with_map, labels = (f"{100 * share:.1f} %" for share in crossed)
    verdict = "fewer" if crossed[0] < crossed[1] else "no fewer"
    return (
        f"with them (diffusion map) {verdict} similar pictures get different classes than by the "
        f"labels alone, {with_map} against {labels} of the links between neighbours, by weight"
    )
