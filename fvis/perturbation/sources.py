"""What is attacked: photographs, or for networks of clips the clips in the middle of videos."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fvis import photographs, videos
from fvis.errors import RequestError
from fvis.models import Model
from fvis.models.base import Preprocessing
from fvis.schema import AdversarialConfig


@dataclass(frozen=True)
class Source:
    """A photograph, or the clip of a video that begins at its frame `start` (from 0)."""

    path: Path
    image: str
    start: int | None = None

    def load(self, preprocessing: Preprocessing) -> Tensor:
        """RGB (3, H, W), or (3, T, H, W) of a clip, in [0, 1], as the network expects it.

        Raises `UnreadableError` where the file cannot be read.
        """
        if self.start is None:
            return photographs.load(self.path, preprocessing)
        return videos.window(self.path, self.start, preprocessing)


def find(settings: AdversarialConfig, model: Model) -> list[tuple[Path, str]]:
    """The files that `method.images`, or `method.clips`, refers to, and a unique name for each.

    Raises `RequestError` if there are none, or if the network takes no such files.
    """
    clips = model.preprocessing.frames is not None
    wanted, other = ("clips", "images") if clips else ("images", "clips")
    if not getattr(settings, wanted):
        given = getattr(settings, other)
        reason = f"; {model.name} takes {wanted}" if given or clips else ""
        raise RequestError(
            f"method=adversarial needs method.{wanted}: files, folders or globs{reason}"
        )
    if getattr(settings, other):
        raise RequestError(
            f"method.{other} is for networks of {other}; {model.name} takes {wanted}"
        )
    paths = (videos if clips else photographs).find(getattr(settings, wanted))
    return list(zip(paths, photographs.names(paths), strict=True))


def source_of(path: Path, name: str, preprocessing: Preprocessing) -> Source:
    """The photograph in a file, or the clip in the middle of a video; may raise as `load` does."""
    if preprocessing.frames is None:
        return Source(path, name)
    return Source(path, name, videos.middle(path, preprocessing))
