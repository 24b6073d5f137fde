"""How networks classify pictures: the attacked one, and others to test its adversarial examples."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fvis import models
from fvis.capture import Network, changes_in_place
from fvis.errors import RequestError
from fvis.models.base import Model
from fvis.models.classes import synonyms
from fvis.models.layers import LOGITS
from fvis.objectives import resolve
from fvis.perturbation.search import margin
from fvis.schema import ModelConfig, TargetConfig

TOP = 5


@dataclass(frozen=True)
class Verdict:
    """How a network classifies one picture.

    `top` has (class index, probability) pairs, the most likely class first; for a hidden layer it
    has (unit, value) pairs. `value` is the target's logit or activation, `shown` its probability
    (for a hidden layer its value again), and `margin` its value minus the greatest other value;
    `rank` is its place among all values, from 1. These four are None where the network has no such
    class.
    """

    top: list[tuple[int, float]]
    value: float | None
    shown: float | None
    margin: float | None
    rank: int | None = None

    @property
    def success(self) -> bool | None:
        """Whether the target has the greatest value; None where the network has no such class."""
        return None if self.margin is None else self.margin > 0


class Classifier:
    """A classifier that chooses among the units of one layer; for logits, among the classes."""

    def __init__(
        self,
        model: Model,
        target: TargetConfig,
        device: torch.device,
        autocast: torch.dtype | None,
    ) -> None:
        if model.preprocessing.frames is not None:
            raise RequestError(
                f"method=adversarial needs a network of images; {model.name} takes clips"
            )
        if target.direction is not None or target.joint is not None:
            raise RequestError(
                "method=adversarial takes method.target, not target.direction or target.joint"
            )
        self.model = model
        self._autocast = autocast
        self._output = target.output
        self._targets = resolve(dataclasses.replace(target, units=0, repeats=1), model, seed=0)
        self.layer = self._targets.layers[0]
        self._functional = False
        self.classes = model.classes if self.layer.path == LOGITS else None

    @property
    def count(self) -> int:
        """The number of units, or classes, to choose among."""
        assert self.layer.units is not None, "resolve() refuses unknown channel axes"
        return self.layer.units

    def require_gradient(self) -> None:
        """Raise `RequestError` where no gradient passes through the network."""
        self._functional = changes_in_place(self.model, self._targets.layers, self._output)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """The frozen network as a function from pictures (B, 3, H, W) to values (B, C)."""
        layers = self._targets.layers
        opened = Network(self.model, layers, self._output, self._autocast, self._functional)
        with opened as network:
            yield lambda rgb: self._targets.values(network(rgb))[0]

    @torch.no_grad()
    def values(self, rgb: Tensor) -> Tensor:
        """Values (B, C) of pictures (B, 3, H, W), which are resized to the network's input size."""
        with self.opened() as values:
            return values(self.model.resized(rgb))

    def judge(self, rgb: Tensor, targets: list[int | None]) -> list[Verdict]:
        """A verdict per picture (B, 3, H, W), each on its own target."""
        values = self.values(rgb)
        shown = values.softmax(1) if self.layer.path == LOGITS else values
        top = shown.topk(min(TOP, values.shape[1]))
        own = torch.tensor([target or 0 for target in targets], device=values.device)
        columns = (
            targets,
            top.indices.tolist(),
            top.values.tolist(),
            values.gather(1, own[:, None])[:, 0].tolist(),
            shown.gather(1, own[:, None])[:, 0].tolist(),
            margin(values, own).tolist(),
            (1 + (values > values.gather(1, own[:, None])).sum(1)).tolist(),
        )
        return [
            Verdict(
                list(zip(indices, chances, strict=True)),
                *((None,) * 4 if target is None else (value, chance, above, rank)),
            )
            for target, indices, chances, value, chance, above, rank in zip(*columns, strict=True)
        ]

    def label(self, index: int) -> int | str:
        """A class's name where it has one, else its index."""
        return dict(enumerate(self.classes or ())).get(index, index)

    def counterpart(self, index: int, other: "Classifier") -> int | None:
        """This network's index for class `index` of another; None where it has no such class.

        Classes are matched by name, at the same index if possible. Networks of which one has no
        names are taken to number their classes alike if they have as many.
        """
        if not self.classes or not other.classes:
            return index if self.count == other.count else None
        wanted = set(synonyms(other.classes[index]))
        alike = [i for i, name in enumerate(self.classes) if wanted & {*synonyms(name)}]
        return index if index in alike else next(iter(alike), None)


def load_classifiers(
    configs: Sequence[ModelConfig], seed: int, device: torch.device, autocast: torch.dtype | None
) -> dict[str, Classifier]:
    """Networks as classifiers by their outputs, by name; `#2` is added to the second of a name."""
    found: dict[str, Classifier] = {}
    for config in configs:
        model = models.load(config, seed)
        model.module.to(device)
        twins = sum(name.partition("#")[0] == model.name for name in found)
        name = f"{model.name}#{twins + 1}" if twins else model.name
        found[name] = Classifier(model, TargetConfig(), device, autocast)
    return found
