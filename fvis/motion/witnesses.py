"""Photographs as witnesses of motion: a unit's tuning to natural textures that drift.

Nothing here depends on the synthesised clip, so that the two answers can be held against another.
"""

import dataclasses
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fvis import photographs, response_cache
from fvis.capture import Network
from fvis.errors import RequestError
from fvis.models.base import Model
from fvis.motion.confidence import WIDEST, angle_deg
from fvis.motion.decomposition import Decomposition
from fvis.motion.tuning import responses_to_drifts, tuning
from fvis.objectives import TargetSet
from fvis.record.motion import NaturalRecord, TuningRecord
from fvis.schema import GroundingConfig

DISTANCES = (1 / 8, 1 / 3, 3 / 4)  # of the frame's height, in one clip: the speeds that are shown
ARRAYS = ("count", "speeds", "responses", "blank")
LEAST_DIRECTION_INDEX = 0.1  # photographs excite less selectively than what was made for the unit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NaturalTuning:
    """The mean responses of a layer's C units to drifting photographs.

    `responses` (C, S, D) are those at each of `speeds` (S,) px/frame in each direction, and `blank`
    (C,) those to uniform clips of the photographs' mean colours. `count` (1,) is how many of the
    photographs `files` could be read.
    """

    files: Sequence[Path]
    count: Tensor
    speeds: Tensor
    responses: Tensor
    blank: Tensor

    def of(self, unit: int, direction_deg: float | None) -> NaturalRecord:
        """What one unit's tuning is, beside the direction that was found."""
        rows = self.responses[unit].tolist()
        found = tuning(self.speeds.tolist(), rows, self.blank[unit].item())
        return NaturalRecord(int(self.count), found, disagreement_deg(direction_deg, found))


def natural_tuning(
    config: GroundingConfig, model: Model, targets: TargetSet, network: Network
) -> NaturalTuning:
    """How a layer's units respond to `config.drifts` of the config's photographs as they drift.

    Computed once per network, layer, position and set of photographs, and then read from the cache.
    Enters `network`. Raises `RequestError` if no photograph can be read, or for a target that is
    not a single unit.
    """
    targets.require_units("grounding.images")
    files = evenly_chosen(photographs.find(config.images), config.drifts)
    place = response_cache.response_file(config, model, targets, network, files, "drifts")
    arrays = response_cache.recall(place, ARRAYS)
    if arrays is not None:
        return NaturalTuning(files, **arrays)
    natural = _measure(model, targets, network, files)
    response_cache.keep(place, {name: getattr(natural, name) for name in ARRAYS})
    return natural


def disagreement_deg(one: float | None, natural: TuningRecord) -> float | None:
    """The angle between a direction and that of drifting photographs; None where there is none."""
    other, index = natural.preferred_deg, natural.direction_index
    if one is None or other is None or index is None or not index >= LEAST_DIRECTION_INDEX:
        return None
    return angle_deg(one, other)


def contradiction(natural: NaturalRecord | None) -> str:
    """What to say of a direction that photographs do not confirm; else nothing."""
    apart = natural.disagreement_deg if natural else None
    if apart is None or apart <= WIDEST:
        return ""
    return f"unsure: photographs prefer a direction {apart:.0f}° away"


def evenly_chosen(files: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of the files, evenly spaced."""
    step = max(1.0, len(files) / count)
    return [files[math.floor(k * step)] for k in range(min(count, len(files)))]


def _measure(
    model: Model, targets: TargetSet, network: Network, files: Sequence[Path]
) -> NaturalTuning:
    """Photograph by photograph: a drifting one is twice as large as the frame."""
    shape = model.preprocessing
    assert shape.frames is not None, "texture_motion refuses networks of images"
    large = dataclasses.replace(shape, height=2 * shape.height, width=2 * shape.width)
    speeds = torch.tensor(DISTANCES) * shape.height / shape.frames
    responses, blanks = [], []

    def values(clips: Tensor) -> Tensor:
        return targets.values(network(clips))[0].cpu()

    with network, torch.no_grad():
        for file in files:
            try:
                photograph = photographs.load(file, large).to(model.device)
            except photographs.UnreadableError as error:
                logger.warning("left out: %s", error)
                continue
            parts = _standing(photograph, shape.frames, shape.height, shape.width)
            blank = photograph.mean((1, 2)).view(1, 3, 1, 1, 1)
            blanks.append(values(blank.expand(1, *shape.shape))[0])
            drifts = responses_to_drifts(values, parts, speeds.to(model.device)[None])
            responses.append(drifts[0])
    if not responses:
        raise RequestError("grounding.images has no photograph that can be read")
    means = torch.stack(responses).mean(0).movedim(-1, 0)
    count, blank = torch.tensor([len(blanks)]), torch.stack(blanks).mean(0)
    return NaturalTuning(files, count, speeds, means, blank)


def _standing(photograph: Tensor, frames: int, height: int, width: int) -> Decomposition:
    """A photograph (3, H', W') whose middle stands in the frame."""
    offset = torch.tensor([[width / 2, height / 2]], device=photograph.device)
    still = torch.zeros(1, 2, frames, height, width, device=photograph.device)
    return Decomposition(photograph[None], offset, still)
