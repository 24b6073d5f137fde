"""What a run does: a method for each of its layers, shallow layers first."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fvis.context import Context
from fvis.errors import RequestError
from fvis.methods import METHODS, Method
from fvis.objectives.selection import Selected, is_single, select, survey_asked
from fvis.schema import AdversarialConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """The methods of a run, one for each layer, in the order in which they are solved.

    `depths` has the place of each of its layers in the network's forward pass. `left_out` has the
    layers that match a pattern and cannot be visualized as asked, and why.
    """

    methods: Sequence[Method]
    depths: Mapping[str, int]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of all jobs, in their order."""
        return [job.name for method in self.methods for group in method.groups for job in group]

    @property
    def steps(self) -> int:
        """Optimization steps of all jobs together, as far as they are known beforehand."""
        return sum(method.steps * sum(map(len, method.groups)) for method in self.methods)

    @property
    def share(self) -> float:
        """The share of the network's input that is synthesised, at most: see `Method.share`."""
        return max(method.share for method in self.methods)

    @property
    def row_bytes(self) -> int:
        """The bytes of memory that one picture takes, at most; 0 where that is not known.

        A method tells them as its `row_bytes`, if it can.
        """
        known = [getattr(method, "row_bytes", 0) for method in self.methods]
        return max(known) if all(known) else 0

    @property
    def inputs(self) -> list[Path]:
        """Files, besides the model's own, that the results depend on."""
        return list(dict.fromkeys(file for method in self.methods for file in method.inputs))

    @property
    def refused(self) -> dict[str, str]:
        """What was asked for and cannot be done, and why; the rest goes on."""
        found = dict(self.left_out)
        for method in self.methods:
            found |= method.refused
        return found


def plan(context: Context) -> Plan:
    """The plan of the run that the context's config asks for.

    Each layer is solved as a run of that layer alone would solve it. A layer that matches a pattern
    and cannot be visualized is left out; raises `RequestError` where none is left, and for a layer
    that was named.
    """
    build, target = METHODS[context.config.method.name], context.config.target
    layers = survey_asked(target, context.model)
    context = dataclasses.replace(context, layers=layers)
    depths = {path: place for place, path in enumerate(layers)}
    if is_single(target):
        return Plan([build(context)], {target.layer: depths.get(target.layer, 0)})
    selected = select(target, context.model, layers)
    if len(selected) > 1:
        _refuse_several(context, selected)
    methods, left_out = list[Method](), dict[str, str]()
    for layer in selected:
        config = dataclasses.replace(context.config, target=layer.target)
        try:
            methods.append(build(dataclasses.replace(context, config=config)))
        except RequestError as error:
            if layer.named:
                raise
            left_out[layer.path] = str(error)
    for path, reason in left_out.items():
        logger.warning("layer %s is left out: %s", path, reason)
    if not methods:
        raise RequestError(f"no layer is left: {next(iter(left_out.values()))}")
    shown = {one.path: depths[one.path] for one in selected if one.path not in left_out}
    made = Plan(methods, shown, left_out)
    _refuse_shared_folders(made)
    return made


def _refuse_several(context: Context, selected: Sequence[Selected]) -> None:
    """Raise `RequestError` for what is asked of one layer only."""
    target, layers = context.config.target, ", ".join(layer.path for layer in selected)
    asked = {
        "target.direction": target.direction is not None,
        "target.dictionary": target.dictionary is not None,
        "target.joint": target.joint is not None,
        "target.grid": target.grid is not None,
        "method=adversarial": isinstance(context.config.method, AdversarialConfig),
    }
    for setting, is_asked in asked.items():
        if is_asked:
            raise RequestError(f"{setting} takes a single layer, and target.layer gives {layers}")


def _refuse_shared_folders(made: Plan) -> None:
    """Raise `RequestError` where units of two layers would have the same directory."""
    shared = [name for name, count in Counter(made.names).items() if count > 1]
    if shared:
        raise RequestError(f"two layers have names that both give the directory {shared[0]}")
