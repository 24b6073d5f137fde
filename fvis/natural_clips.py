"""Natural clips beside a unit's own: which windows of the user's videos excite the unit most."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from fvis import grounding, photographs, response_cache, videos
from fvis.artifacts import Writer, clip_writers
from fvis.batching import in_batches
from fvis.capture import Network
from fvis.context import Context
from fvis.errors import RequestError
from fvis.models.base import Model, Preprocessing
from fvis.objectives import Target, TargetSet
from fvis.record.witnesses import ClipRecord, NaturalClipsRecord
from fvis.synthesis import Optimum

BATCH = 8  # windows per forward pass
ARRAYS = ("scores", "places")  # of the cache

Clip = tuple[int, int, Tensor]  # a window: its file's index, its first frame, and RGB uint8

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """A clip in a video: the number of its first frame, and how strongly it excites the unit."""

    file: Path
    start: int
    activation: float


@dataclass(frozen=True)
class NaturalClips:
    """How strongly each of N windows of videos excites each of a layer's C units.

    `scores` (N, C) are the values at `target.position`. `places` say where the windows are: in
    which file, and the number of the first of their `frames` frames. With `sign` -1 the strongest
    windows are those that excite a unit least.
    """

    scores: Tensor
    places: Sequence[tuple[Path, int]]
    frames: int
    sign: int = 1

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The files that could be read, each once."""
        return tuple(dict.fromkeys(file for file, _ in self.places))

    def strongest(self, unit: int, count: int) -> list[Window]:
        """The unit's strongest windows, at most `count`; no two share a frame.

        They are from different files, unless there are fewer files than `count`.
        """
        most = math.ceil(count / len(self.files))  # of one file
        found: list[Window] = []
        order = (self.sign * self.scores[:, unit]).argsort(descending=True, stable=True)
        for row in order.tolist():
            file, start = self.places[row]
            others = [other.start for other in found if other.file == file]
            if len(others) < most and all(abs(start - at) >= self.frames for at in others):
                found.append(Window(file, start, self.scores[row, unit].item()))
            if len(found) == count:
                break
        return found

    def compare(self, unit: int, final: float, windows: Sequence[Window]) -> NaturalClipsRecord:
        """How the activation `final` of a unit's own clip compares with those of the windows."""
        percentiles, below, times_strongest = grounding.standing(
            self.scores[:, unit], final, self.sign
        )
        return NaturalClipsRecord(
            windows=len(self.scores),
            files=len(self.files),
            percentiles=percentiles,
            below=below,
            times_strongest=times_strongest,
            strongest=[
                ClipRecord(photographs.shown(w.file), w.start, w.activation) for w in windows
            ],
        )


def natural_clips(context: Context, targets: TargetSet, network: Network) -> NaturalClips | None:
    """How strongly the config's videos excite a layer's units; None if the config names none.

    Computed once per network, layer, position and set of videos, and then read from the cache.
    Enters `network`. Raises `RequestError` if no video can be read, if the network takes images,
    or for a target that is not a single unit.
    """
    config, model = context.config.grounding, context.model
    if not config.clips:
        return None
    frames = model.preprocessing.frames
    if frames is None:
        raise RequestError(f"grounding.clips needs a network of clips; {model.name} takes images")
    targets.require_units("grounding.clips")
    files = videos.find(config.clips)
    place = response_cache.response_file(config, model, targets, network, files, "clips")
    arrays = response_cache.recall(place, ARRAYS)
    recalled = arrays is not None
    if arrays is None:
        arrays = _measure(model, targets, network, files)
        response_cache.keep(place, arrays)
    places = [(files[index], start) for index, start in arrays["places"].tolist()]
    natural = NaturalClips(arrays["scores"], places, frames, targets.sign)
    if recalled:
        response_cache.tell_left_out(files, set(natural.files))
    return natural


def record_and_files(
    natural: NaturalClips | None, job: Target, optimum: Optimum, context: Context
) -> tuple[NaturalClipsRecord | None, dict[str, Writer]]:
    """A unit's record among natural clips, and what writes `natural.gif`, and the MP4 if asked.

    The file shows the unit's own clip and, to its right, its strongest natural ones. Raises
    `UnreadableError` where a video can no longer be read.
    """
    if natural is None:
        return None, {}
    from fvis.motion.pictures import side_by_side  # with matplotlib, which takes long to import

    assert isinstance(job.unit, int), "natural_clips() accepts units only"
    preprocessing, config = context.model.preprocessing, context.config
    windows = natural.strongest(job.unit, config.grounding.patches)
    clips = [videos.window(w.file, w.start, preprocessing) for w in windows]
    files = clip_writers("natural", side_by_side([optimum.picture, *clips]), config.output)
    return natural.compare(job.unit, optimum.final, windows), files


def _measure(
    model: Model, targets: TargetSet, network: Network, files: Sequence[Path]
) -> dict[str, Tensor]:
    """`scores` (N, C) and `places` (N, 2) of all windows; places by index into `files`."""
    sizes = [BATCH]  # the last one fits into memory, as far as is known

    def see(batch: list[Clip]) -> Tensor:
        clips = torch.stack([clip for *_, clip in batch]).to(model.device) / 255
        return targets.values(network(clips))[0].cpu()

    scores: list[Tensor] = []
    places: list[tuple[int, int]] = []
    stream = _windows(files, model.preprocessing)
    with network, torch.no_grad():
        while some := list(islice(stream, sizes[-1])):
            groups = [[one] for one in some]
            scores += in_batches(groups, sizes[-1], see, on_resize=sizes.append)
            places += [(index, start) for index, start, _ in some]
    if not scores:
        raise RequestError("grounding.clips has no video that can be read and is long enough")
    return {"scores": torch.cat(scores), "places": torch.tensor(places)}


def _windows(files: Sequence[Path], preprocessing: Preprocessing) -> Iterator[Clip]:
    """The windows of all videos, while these are read."""
    for index, file in enumerate(files):
        try:
            for start, clip in videos.windows(file, preprocessing):
                yield index, start, clip
        except photographs.UnreadableError as error:
            logger.warning("left out: %s", error)
