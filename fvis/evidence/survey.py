"""What networks make of the photographs: measured once for each set of them, and then cached."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from fvis import grounding, photographs
from fvis.batching import in_batches
from fvis.capture import Network
from fvis.context import Context
from fvis.evidence.embedding import Embedding
from fvis.evidence.path import Course, channel_means
from fvis.models.base import Preprocessing
from fvis.models.layers import survey
from fvis.models.stages import stages
from fvis.synthesis import Synthesizer

BATCH = 16  # photographs per forward pass

T = TypeVar("T")


class PathReader:
    """Reads how pictures run through a network: at its stages before a layer, and at that layer."""

    def __init__(self, context: Context, synthesizer: Synthesizer) -> None:
        self._context, self._synthesizer = context, synthesizer
        (target, *_) = synthesizer.targets.layers
        found = context.layers or survey(context.model, context.config.target.output)
        order = list(found)
        earlier = set(order[: order.index(target.path)]) & {*stages(context.model.module)}
        usable = (found[path] for path in order if path in earlier)
        self.layers = [
            *(one for one in usable if one.channel_dim is not None and one.shape[0] == 1),
            target,
        ]

    def means(self, rgb: Tensor) -> list[Tensor]:
        """The mean over positions (B, C) of each layer's channels, for pictures (B, 3, H, W)."""
        context = self._context
        network = Network(
            context.model, self.layers, context.config.target.output, context.autocast
        )
        with network, torch.no_grad():
            outputs = network(rgb.to(context.device))
        pairs = zip(self.layers, outputs, strict=True)
        return [channel_means(layer, output).cpu() for layer, output in pairs]

    def course(self, files: Sequence[Path]) -> Course:
        """How photographs run through the network."""
        names = tuple(layer.path for layer in self.layers)
        keys = [f"layer{number}" for number in range(len(names))]
        config, model = self._context.config.grounding, self._context.model
        targets, network = self._synthesizer.targets, self._synthesizer.network()
        what = f"path through {names}"
        place = grounding.cached(config, model, targets, network, files, what)
        arrays = grounding.recall(place, keys)
        if arrays is None:
            rows = _look(files, model.preprocessing, self.means)
            columns = [torch.cat(column) for column in zip(*rows, strict=True)]
            arrays = dict(zip(keys, columns, strict=True))
            grounding.keep(place, arrays)
        return Course(names, tuple(arrays[name] for name in keys))


def embedded(context: Context, files: Sequence[Path], embedding: Embedding) -> Tensor:
    """The embeddings (N, D) of photographs, resized and cropped as for the context's network."""
    config, crop = context.config.grounding, context.model.preprocessing
    place = grounding.cache_file(config, files, embedding.name, embedding.sha256, crop)
    arrays = grounding.recall(place, ("embedded",))
    if arrays is None:
        arrays = {"embedded": torch.cat(_look(files, crop, embedding))}
        grounding.keep(place, arrays)
    return arrays["embedded"]


def _look(
    files: Sequence[Path], preprocessing: Preprocessing, see: Callable[[Tensor], T]
) -> list[T]:
    """What is seen in photographs, batch by batch."""

    def see_files(batch: list[Path]) -> T:
        return see(photographs.batch(batch, preprocessing))

    return list(in_batches([[file] for file in files], BATCH, see_files))
