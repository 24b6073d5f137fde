"""Networks of papers whose code is no library: how each is built, fed, and finds its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from fvis.models.base import Preprocessing
from fvis.models.checkpoints import Rename
from fvis.models.papers import c3d, videogpt


@dataclass(frozen=True)
class PaperNetwork:
    """One network of a paper.

    Attributes:
        build: returns it with random weights; takes the network's own keyword arguments.
        preprocessing: how pictures become its input.
        weights: where its weights were published, in words.
        rename: turns the keys of published checkpoints into the network's own.
    """

    build: Callable[..., nn.Module]
    preprocessing: Preprocessing
    weights: str
    rename: Rename


# The mean of Sports-1M per RGB channel, for pixels in 0..255: Caffe's own mean clip
# (`sport1m_train16_128_mean.binaryproto`) averaged over space and time, as ports that use these
# weights subtract it (jfzhang95/pytorch-video-recognition, there in the order B, G, R). DavideA's
# example subtracts nothing; mmaction2 subtracts 104, 117, 128 where it fine-tunes on RGB.
SPORTS_MEAN = (102.0, 98.0, 90.0)

NETWORKS: Mapping[str, PaperNetwork] = MappingProxyType(
    {
        "c3d": PaperNetwork(
            c3d.c3d,
            Preprocessing(
                height=112,
                width=112,
                frames=16,
                mean=(SPORTS_MEAN[0] / 255, SPORTS_MEAN[1] / 255, SPORTS_MEAN[2] / 255),
                std=(1 / 255, 1 / 255, 1 / 255),
                crop=112 / 128,
                interpolation="bilinear",
            ),
            "c3d.pickle of github.com/DavideA/c3d-pytorch (Sports-1M)",
            c3d.rename,
        ),
        "videogpt_vqvae": PaperNetwork(
            videogpt.VQVAEEncoder,
            # The checkpoints of UCF-101 and Kinetics learnt clips of this size, BAIR's 64 px.
            Preprocessing(
                height=128,
                width=128,
                frames=16,
                mean=(0.5, 0.5, 0.5),
                std=(1.0, 1.0, 1.0),
                interpolation="bilinear",
            ),
            "ucf101_stride4x4x4 of github.com/wilson1yan/VideoGPT",
            videogpt.rename,
        ),
    }
)
"""All of them, by `model.name`."""
