"""How networks classify pictures: the attacked one, and others to test its adversarial examples."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from fvis import models
from fvis.capture import Network, opener
from fvis.errors import RequestError
from fvis.models.base import Model
from fvis.models.classes import synonyms
from fvis.models.layers import LOGITS
from fvis.objectives import resolve
from fvis.perturbation.aims import Aim, Aims
from fvis.perturbation.goals import ANY, Goal
from fvis.schema import ModelConfig, TargetConfig

TOP = 5


@dataclass(frozen=True)
class Verdict:
    """How a network classifies one picture.

    `top` has (class index, probability) pairs, the most likely class first; for a hidden layer it
    has (unit, value) pairs. `value` is the target's logit or activation, `shown` its probability
    (for a hidden layer its value again), and `margin` its value minus the greatest other value.
    Where the picture shall be taken for any other class than one, `value` is that one's, `shown`
    the probability of all others, and `margin` has the opposite sign. `rank` is the place of the
    class among all values, from 1. These four are None where the network has no such class.
    """

    top: list[tuple[int, float]]
    value: float | None
    shown: float | None
    margin: float | None
    rank: int | None = None

    @property
    def success(self) -> bool | None:
        """Whether the picture is taken for its target; None where the network has no such class."""
        return None if self.margin is None else self.margin > 0


class Classifier:
    """A classifier that chooses among the units of one layer; for logits, among the classes."""

    def __init__(self, model: Model, target: TargetConfig, autocast: torch.dtype | None) -> None:
        if target.direction is not None or target.dictionary is not None or target.is_joint:
            raise RequestError(
                "method=adversarial takes method.target, no target.direction, dictionary or joint"
            )
        self.model = model
        self._targets = resolve(dataclasses.replace(target, units=0, repeats=1), model, seed=0)
        self.layer = self._targets.layers[0]
        self._how = (target.output, autocast)
        self._plain = functools.partial(Network, model, self._targets.layers, *self._how)
        self._open: Callable[[], Network] = self._plain
        self.classes = model.classes if self.layer.path == LOGITS else None

    @property
    def count(self) -> int:
        """The number of units, or classes, to choose among."""
        assert self.layer.units is not None, "resolve() refuses unknown channel axes"
        return self.layer.units

    def prepare_gradient(self, *, fold: bool = False) -> None:
        """Make `opened` fast; raises `RequestError` where no gradient passes through the network.

        With `fold`, what `opened` gives differs from what `values` does by rounding.
        """
        self._open = opener(self.model, self._targets.layers, *self._how, fold=fold)

    def opened(self) -> AbstractContextManager[Callable[[Tensor], Tensor]]:
        """The frozen network as a function from pictures (B, 3, ...) to values (B, C).

        Pictures, or the frames of clips, are resized to the network's input size.
        """
        return self._reading(self._open())

    @torch.no_grad()
    def values(self, rgb: Tensor) -> Tensor:
        """Values (B, C) of pictures (B, 3, ...), of the network as it is."""
        with self._reading(self._plain()) as values:
            return values(rgb)

    @contextlib.contextmanager
    def _reading(self, network: Network) -> Iterator[Callable[[Tensor], Tensor]]:
        with network:
            yield lambda rgb: self._targets.values(network(self.model.resized(rgb)))[0]

    def aims(self, targets: Sequence[Goal], other: "Classifier", clean: Tensor) -> list[Aim | None]:
        """What this network shall take the pictures `clean` (B, 3, ...) for, once changed.

        `targets` are classes of another network, and None stands for one that this network does not
        have. Where it is `any`, the aim is away from the class that this network sees itself.
        """
        seen = self.values(clean).argmax(1).tolist() if ANY in targets else [0] * len(targets)
        found: list[Aim | None] = []
        for target, own in zip(targets, seen, strict=True):
            index = self.counterpart(target, other) if isinstance(target, int) else own
            found.append(None if index is None else Aim(index, away=target == ANY))
        return found

    def judge(self, rgb: Tensor, aims: Sequence[Aim | None]) -> list[Verdict]:
        """A verdict per picture (B, 3, ...), each on its own aim."""
        values = self.values(rgb)
        shown = values.softmax(1) if self.layer.path == LOGITS else values
        top = shown.topk(min(TOP, values.shape[1]))
        batch = Aims.of(aims, values.device)
        chances = torch.where(batch.signs > 0, batch.own(shown), 1 - batch.own(shown))
        own = batch.own(values)
        ranks = 1 + (values > own[:, None]).sum(1)
        numbers = (own, chances, batch.margin(values), ranks)
        columns = (aims, top.indices.tolist(), top.values.tolist(), *(n.tolist() for n in numbers))
        return [
            Verdict(
                list(zip(indices, likely, strict=True)),
                *((None,) * 4 if aim is None else told),
            )
            for aim, indices, likely, *told in zip(*columns, strict=True)
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
    configs: Sequence[ModelConfig],
    seed: int,
    device: torch.device,
    autocast: torch.dtype | None,
    taken: Collection[str] = (),
) -> dict[str, Classifier]:
    """Networks as classifiers by their outputs, by name; none has a name that is `taken`.

    The second network of a name is called `NAME#2`.
    """
    names, found = list(taken), dict[str, Classifier]()
    for config in configs:
        model = models.load(config, seed)
        model.module.to(device)
        twins = sum(name.partition("#")[0] == model.name for name in names)
        names.append(f"{model.name}#{twins + 1}" if twins else model.name)
        found[names[-1]] = Classifier(model, TargetConfig(), autocast)
    return found


def refuse_lone_unit(network: Classifier, setting: str) -> None:
    """Raise `RequestError` for a network that has nothing to choose among."""
    if network.count < 2:
        raise RequestError(
            f"{setting}: layer {network.layer.path} of {network.model.name} has one unit, and no "
            "other that a picture could be taken for"
        )


def refuse_other_classes(network: Classifier, first: Classifier, setting: str) -> None:
    """Raise `RequestError` unless a network has every class of the first; `setting` names it."""
    alike = network.count == first.count and network.classes == first.classes
    for index in () if alike else range(first.count):
        if network.counterpart(index, first) is None:
            raise RequestError(
                f"{setting} takes networks with the same classes: of {network.model.name}'s "
                f"{network.count}, none is class {first.label(index)} of {first.model.name}, which "
                f"has {first.count}"
            )


def refuse_other_inputs(model: Model, first: Model, setting: str) -> None:
    """Raise `RequestError` for a network that does not take clips of as many frames, or images."""
    frames, wanted = model.preprocessing.frames, first.preprocessing.frames
    if frames != wanted:
        takes, of_first = ("images" if n is None else f"clips of {n}" for n in (frames, wanted))
        raise RequestError(f"{setting}: {model.name} takes {takes}; {first.name}, {of_first}")
