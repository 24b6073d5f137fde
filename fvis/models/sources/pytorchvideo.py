"""`model.source=pytorchvideo`: the I3D of PyTorchVideo, which is the optional extra `video`."""

import contextlib
import importlib
import re
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch

from fvis.errors import RequestError, unknown
from fvis.models import hub
from fvis.models.base import Preprocessing
from fvis.models.checkpoints import State
from fvis.models.sources.base import (
    CATALOGUES,
    SOURCES,
    SourceModel,
    constructing,
    named,
    wants_hub_weights,
)
from fvis.schema import ModelConfig

NAMES = ("i3d_r50",)
# PyTorchVideo's own evaluation: 8 frames, 8 apart, the shorter side 256 px. It learnt crops of 224.
PREPROCESSING = Preprocessing(
    height=224,
    width=224,
    frames=8,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    crop=224 / 256,
    interpolation="bilinear",
)
# Caffe2's name of a weight: of the first convolution, of the classifier, or of a residual block.
CAFFE2_KEY = re.compile(
    r"((?P<first>(res_)?conv1)|(?P<classifier>pred)"
    r"|res(?P<stage>[2-5])_(?P<block>\d+)_branch(?P<branch>1|2(?P<part>[abc])))"
    r"_(?P<norm>bn_)?(?P<kind>w|b|s|rm|riv)"
)
CAFFE2_KINDS = {
    "w": "weight", "s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var",
}  # fmt: skip
CAFFE2_STAGES = {"2": 1, "3": 3, "4": 4, "5": 5}  # blocks.2 pools over time


@SOURCES.register("pytorchvideo")
def load(config: ModelConfig) -> SourceModel:
    """A network of PyTorchVideo by name; its own loader fetches pretrained weights."""
    name = named(config)
    if name not in NAMES:
        raise unknown("PyTorchVideo model", name, NAMES)
    networks = _networks()
    pretrained = wants_hub_weights(config)
    url = networks.resnet.checkpoint_paths[name]
    with constructing(f"PyTorchVideo model {name}"):
        try:
            reachable = hub.torch_hub(url) if pretrained else contextlib.nullcontext()
            with reachable, contextlib.redirect_stdout(sys.stderr):  # it reports downloads there
                module = getattr(networks, name)(pretrained=pretrained, **config.kwargs)
        except (URLError, OSError) as error:
            raise RequestError(_advice(name, url)) from error
    return SourceModel(module, PREPROCESSING, rename=rename)


@CATALOGUES.register("pytorchvideo")
def names() -> list[str]:
    """The networks of PyTorchVideo that take one clip."""
    return list(NAMES)


def rename(state: State) -> State:
    """The keys of PySlowFast's Caffe2 file `I3D_8x8_R50.pkl` as PyTorchVideo's; others stay.

    >>> list(rename(dict.fromkeys(["conv1_w", "res2_0_branch2a_bn_s", "conv1_w_momentum"])))
    ['blocks.0.conv.weight', 'blocks.1.res_blocks.0.branch2.norm_a.weight']
    """
    if "conv1_w" not in state:
        return state
    own = {_own(key): tensor for key, tensor in state.items()}
    found = {key: tensor for key, tensor in own.items() if key is not None}
    # PyTorch counts the batches that went into a mean; Caffe2 does not.
    for mean in [key for key in found if key.endswith(".running_mean")]:
        found[mean.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    return found


def _own(key: str) -> str | None:
    """PyTorchVideo's name of what Caffe2 calls `key`; None for what belongs to the optimizer."""
    match = CAFFE2_KEY.fullmatch(key)
    if match is None:
        return None
    layer = "norm" if match["norm"] else "conv"
    if match["first"]:
        place = f"blocks.0.{layer}"
    elif match["classifier"]:
        place = "blocks.6.proj"
    else:
        branch = f"branch2.{layer}_{match['part']}" if match["part"] else f"branch1_{layer}"
        place = f"blocks.{CAFFE2_STAGES[match['stage']]}.res_blocks.{match['block']}.{branch}"
    return f"{place}.{CAFFE2_KINDS[match['kind']]}"


def _networks() -> Any:
    try:
        return importlib.import_module("pytorchvideo.models.hub")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pytorchvideo":
            raise RequestError(f"pytorchvideo cannot be imported: {error}") from error
        raise RequestError(
            "model.source=pytorchvideo needs the package pytorchvideo: pip install 'fvis[video]'"
        ) from None
    except (ImportError, RuntimeError, AttributeError) as error:
        raise RequestError(f"pytorchvideo cannot be imported: {error}") from error


def _advice(name: str, url: str) -> str:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return (
        f"the weights of {name} are neither cached nor reachable; put {url.rpartition('/')[2]} "
        f"from {url} into {folder}, or set model.checkpoint=FILE"
    )
