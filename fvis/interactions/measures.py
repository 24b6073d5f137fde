"""The numbers of interactions: responses in natural standard deviations, synergy, and its name."""

from dataclasses import dataclass

from torch import Tensor

STRONG = 2.0  # natural standard deviations; weaker responses are told as none
ROUNDING = 1e-6  # of a unit's largest value; it varies if it does so by more
TOLERANCE = 0.25  # of the strongest response: a lesser synergy is told as none

AND, OR, SUM, ONE = "and", "or", "sum", "one"
INHIBITION, SYNERGY, LESS, NONE = "inhibition", "synergy", "less", "none"


@dataclass(frozen=True)
class Natural:
    """The mean and standard deviation (K,) of units over photographs, and their correlations.

    `correlation` (K, K) is Pearson's, of the units' values over photographs.
    """

    mean: Tensor
    std: Tensor
    correlation: Tensor

    @classmethod
    def of(cls, scores: Tensor) -> "Natural":
        """From values (N, K) of K units for N photographs; NaN where a unit never varies.

        >>> Natural.of(Tensor([[0, 4], [2, 0]])).mean.tolist()
        [1.0, 2.0]
        """
        scores = scores.double()
        mean, std = scores.mean(0), scores.std(0)
        unit = (scores - mean) / std / (len(scores) - 1) ** 0.5
        return cls(mean, std, (unit.T @ unit).clamp(-1, 1))  # but for rounding

    def deviations(self, values: Tensor) -> Tensor:
        """Values (..., K) in natural standard deviations above the natural mean."""
        return (values.double() - self.mean) / self.std


@dataclass(frozen=True)
class Interaction:
    """How a unit responds to the optima of two others, and to their joint optimum.

    Units are indices; responses are in natural standard deviations above the natural mean.

    Attributes:
        first, second: the units of the pair.
        unit: the unit that responds.
        alone: its responses to the optimum of the first, and to that of the second.
        together: its response to their joint optimum.
        kept: the shares of the response to its own optimum that the first keeps in the joint one,
            and the second, from 0 to 1.
    """

    first: int
    second: int
    unit: int
    alone: tuple[float, float]
    together: float
    kept: tuple[float, float]

    @property
    def parts(self) -> tuple[float, float]:
        """The responses to either optimum, each times what the joint one keeps of it."""
        return self.alone[0] * self.kept[0], self.alone[1] * self.kept[1]

    @property
    def synergy(self) -> float:
        """By how much the response to the joint optimum exceeds the sum of its parts."""
        return self.together - sum(self.parts)

    @property
    def kind(self) -> str:
        """What the unit computes of the pair, in a word: see `kind_of`."""
        return kind_of(*self.parts, self.together)

    @property
    def inhibitor(self) -> int | None:
        """Which unit of the pair inhibits the one that responds; None for neither, and for both."""
        weaker = min(self.parts)
        if self.kind != INHIBITION or (weaker >= STRONG and self.together < weaker / 2):
            return None
        return self.second if self.parts[0] > self.parts[1] else self.first


def kind_of(first: float, second: float, together: float) -> str:
    """What a unit computes of two others, from its responses to their optima.

    - `and`: together they excite it by more than the sum, and neither alone by half as much.
    - `or`: together they excite it by less than the sum, and each alone by at least half as much.
    - `inhibition`: together they excite it less than half as much as one of them alone.
    - `sum`: together they excite it by about the sum; `one`: by about what one of them does.
    - `synergy`, `less`: more, or less, than the sum, and none of the above.
    - `none`: nothing excites it by `STRONG` natural standard deviations.

    >>> kind_of(0.0, 0.1, 8.0), kind_of(7.0, 8.0, 8.5), kind_of(9.0, 0.0, 1.0), kind_of(4.0, 5.0, 9)
    ('and', 'or', 'inhibition', 'sum')
    """
    strongest, synergy = max(first, second, together), together - first - second
    if not strongest >= STRONG:
        return NONE
    weaker, stronger = sorted((first, second))
    if together < stronger / 2:
        return INHIBITION
    if abs(synergy) <= TOLERANCE * strongest:
        return SUM if abs(weaker) >= TOLERANCE * strongest else ONE
    if synergy > 0:
        return AND if stronger < together / 2 else SYNERGY
    return OR if weaker >= together / 2 else LESS


def interactions(alone: Tensor, together: dict[tuple[int, int], Tensor]) -> list[Interaction]:
    """Every unit's response to every pair of other units, the greatest synergy first.

    Args:
        alone: responses (K, K) in natural standard deviations: row i to the optimum of unit i.
        together: responses (K,) to the joint optimum of each pair (i, j).
    """
    found = []
    for (first, second), responses in together.items():
        kept = tuple(
            (responses[part] / alone[part, part]).clamp(0, 1).nan_to_num(0).item()
            for part in (first, second)
        )
        for unit in range(len(alone)):
            if unit not in (first, second):
                pair = (alone[first, unit].item(), alone[second, unit].item())
                response = responses[unit].item()
                found.append(Interaction(first, second, unit, pair, response, (kept[0], kept[1])))
    return sorted(found, key=lambda one: (one.kind == NONE, -abs(one.synergy)))


def varies(scores: Tensor) -> Tensor:
    """Which of K units (K,) respond to N photographs differently, by their values (N, K).

    >>> varies(Tensor([[0.3, 1.0], [0.3, 1.1], [0.30000001, 1.0]])).tolist()
    [False, True]
    """
    exact = scores.double()  # in float32 even what never varies may have a standard deviation
    return exact.std(0) > ROUNDING * exact.abs().amax(0)


def pair_weights(natural: Natural, first: int, second: int) -> tuple[float, float]:
    """The weights with which two units count alike: one over their natural standard deviations."""
    return 1 / natural.std[first].item(), 1 / natural.std[second].item()
