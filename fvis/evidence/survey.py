"""What is read of the photographs for evidence: the layers on the way, and their embeddings."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fvis import photographs, response_cache
from fvis.batching import in_batches
from fvis.context import Context
from fvis.evidence.embedding import Embedding
from fvis.models.layers import Layer, survey
from fvis.models.stages import stages
from fvis.objectives import TargetSet
from fvis.randomness import random_generator

BATCH = 16  # photographs per forward pass


def layers_on_the_way(context: Context, targets: TargetSet) -> list[Layer]:
    """The network's stages before the targets' layer, where the path is asked for; else none."""
    config = context.config
    if not (config.grounding.images and config.evidence.path) or config.target.output is not None:
        return []
    (target, *_) = targets.layers
    found = context.layers or survey(context.model)
    order = list(found)
    earlier = set(order[: order.index(target.path)]) & {*stages(context.model.module)}
    layers = (found[path] for path in order if path in earlier)
    return [one for one in layers if one.channel_dim is not None and one.shape[0] == 1]


def embedded(context: Context, files: Sequence[Path], embedding: Embedding) -> Tensor:
    """The embeddings (N, D) of photographs, resized and cropped as for the context's network."""
    config, crop = context.config.grounding, context.model.preprocessing
    noise = torch.rand(1, 3, crop.height, crop.width, generator=random_generator("embedding"))
    parts = (embedding.name, embedding.sha256, crop, response_cache.hash_of([embedding(noise)]))
    place = response_cache.cache_file(config, files, *parts)
    arrays = response_cache.recall(place, ("embedded",))
    if arrays is None:

        def see(batch: list[Path]) -> Tensor:
            return embedding(photographs.batch(batch, crop))

        batches = in_batches([[file] for file in files], BATCH, see)
        arrays = {"embedded": torch.cat(list(batches))}
        response_cache.keep(place, arrays)
    return arrays["embedded"]
