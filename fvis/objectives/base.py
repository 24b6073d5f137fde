"""What an objective is: one score per batch row, computed from the outputs of some layers."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from fvis.models.layers import Layer


class Objective(Protocol):
    """What the pictures of one batch are to maximise.

    Implement this for a new kind of question (features of an autoencoder, similarity to a text,
    distance to a photograph's activations): the ascent needs nothing else.
    """

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers whose outputs `scores` takes."""
        ...

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """The score (B,) of each row, from that row of the layers' outputs alone.

        `outputs` are in the order of `layers`, each with the batch first.
        """
        ...


class LinearObjective(Objective, Protocol):
    """An objective whose scores are weighted sums of the values of layers' units."""

    def values(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Per layer, the values (B, C) of its units."""
        ...

    @property
    def norms(self) -> list[Tensor]:
        """Per layer, the length (B,) of the rows' weight vectors."""
        ...

    @property
    def excites(self) -> Tensor:
        """Which rows (B,) have no negative weight."""
        ...

    @property
    def silences(self) -> Tensor:
        """Which rows (B,) ask for the lowest value of a single unit."""
        ...
