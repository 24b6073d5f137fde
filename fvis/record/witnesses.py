"""What is known of photographs and videos that excite a unit."""

from dataclasses import dataclass, field

from fvis.typed_json import Number


@dataclass(frozen=True)
class PatchRecord:
    """Where a photograph excites the unit most; `box` is x, y, width and height in pixels."""

    file: str = ""
    activation: Number = None
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class BestPositionRecord:
    """The greatest value of the unit at any position: in the picture, and in any photograph.

    `times_strongest` is the ratio of the two. A picture that excites the unit all over has a high
    mean over positions; this is how strongly it does so at one.
    """

    picture: Number = None
    photographs: Number = None
    times_strongest: Number = None


@dataclass(frozen=True)
class GroundingRecord:
    """How the picture's activation stands among those of photographs.

    `best_position` compares single positions. All else is read at `target.position`: `below` is the
    share of photographs with a lower activation, and `times_strongest` the ratio to the highest.
    `strongest` has the patches that excite the unit most. With `target.sign=-1` the lowest value
    stands in the place of the highest, and what excites the unit least in that of what does most;
    `percentiles` and `below` are the same.
    """

    photographs: int = 0
    best_position: BestPositionRecord = field(default_factory=BestPositionRecord)
    percentiles: dict[str, Number] = field(default_factory=dict)
    below: Number = None
    times_strongest: Number = None
    strongest: list[PatchRecord] = field(default_factory=list)


@dataclass(frozen=True)
class ClipRecord:
    """A natural clip: the video's name, the number of the first frame (from 0), the activation."""

    clip: str = ""
    start: int = 0
    activation: Number = None


@dataclass(frozen=True)
class NaturalClipsRecord:
    """How the free clip's activation stands among those of `windows` clips from `files` videos.

    `percentiles`, `below` and `times_strongest` are as in `GroundingRecord`. `strongest` has the
    clips that excite the unit most.
    """

    windows: int = 0
    files: int = 0
    percentiles: dict[str, Number] = field(default_factory=dict)
    below: Number = None
    times_strongest: Number = None
    strongest: list[ClipRecord] = field(default_factory=list)
