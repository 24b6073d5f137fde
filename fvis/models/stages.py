"""The stages of a network: the few layers that show it from its input to its output."""

import re
from collections.abc import Iterator

from torch import nn

from fvis.models.architecture import feature_info

NUMBERED = re.compile(r"(.*?)(\d+)")


def stages(network: nn.Module) -> list[str]:
    """The paths of a network's stages.

    They are those that timm's `feature_info` names. For a network without one they are the parts of
    its largest sequence: of an `nn.Sequential` or `nn.ModuleList`, or of modules side by side whose
    names count up (`layer1`, `layer2`, ...). The largest one holds the most modules in all. Where
    it holds less than half of the network, the network's own children are its stages.

    >>> stages(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Flatten()))
    ['0', '1']
    """
    paths = dict(network.named_modules())
    declared = [entry["module"] for entry in feature_info(network) if entry["module"] in paths]
    if declared:
        return list(dict.fromkeys(declared))
    sequences: list[dict[str, nn.Module]] = [
        parts for path, part in paths.items() for parts in _within(path, part)
    ]
    children = dict(network.named_children())
    largest = max(sequences, key=_size, default=children)
    return list(largest if 2 * _size(largest) > _size(children) else children)


def _within(path: str, part: nn.Module) -> Iterator[dict[str, nn.Module]]:
    """The sequences of two or more modules among the children of a module, by path."""
    prefix = f"{path}." if path else ""
    children = {prefix + name: child for name, child in part.named_children()}
    if isinstance(part, nn.Sequential | nn.ModuleList):
        found = [children]
    else:
        families: dict[str, dict[str, nn.Module]] = {}
        for name, child in children.items():
            if numbered := NUMBERED.fullmatch(name):
                families.setdefault(numbered[1], {})[name] = child
        found = list(families.values())
    yield from (sequence for sequence in found if len(sequence) > 1)


def _size(sequence: dict[str, nn.Module]) -> int:
    return sum(1 for part in sequence.values() for _ in part.modules())
