"""What a network declares about its architecture: attention, prefix tokens, stages, channel counts.

The attributes that timm's models declare are read first; class names are the last resort. The
settings `model.attends`, `target.prefix_tokens` and `target.channel_dim` override what is found.
"""

import sys
from collections.abc import Mapping
from typing import Any

from torch import nn


def timm_layers(*names: str) -> tuple[type[nn.Module], ...]:
    """Classes of `timm.layers`, by name; none before timm is imported: no network has any then."""
    layers = sys.modules.get("timm.layers")
    return () if layers is None else tuple(getattr(layers, name) for name in names)


def attends(module: nn.Module) -> bool:
    """Whether the network is a transformer, that is, whether self-attention mixes its positions.

    It is one if it declares `num_prefix_tokens`, as timm's transformers do, or has an attention
    module: one that declares `fused_attn` (timm), an `nn.MultiheadAttention`, or one with
    "Attention" in its class name. Attention that only pools positions does not count.
    """
    if isinstance(getattr(module, "num_prefix_tokens", None), int):
        return True
    return any(_is_attention(part) for part in module.modules())


def _is_attention(part: nn.Module) -> bool:
    kind = type(part).__name__
    if "Pool" in kind:
        return False
    declared = hasattr(part, "fused_attn") or isinstance(part, nn.MultiheadAttention)
    return declared or "Attention" in kind


def prefix_tokens(module: nn.Module) -> int:
    """The number of tokens (class, registers) that a transformer puts before its patch tokens.

    It is 0 for a network that declares none.
    """
    if isinstance(count := getattr(module, "num_prefix_tokens", None), int):
        return count
    if isinstance(getattr(module, "class_token", None), nn.Parameter):
        return 1  # torchvision's VisionTransformer
    encoding = getattr(module, "pos_encoding", None)
    return int(isinstance(getattr(encoding, "class_token", None), nn.Parameter))  # MViT


def token_width(module: nn.Module) -> int | None:
    """The length of a transformer's token vectors; None if the network does not declare it."""
    widths = (getattr(module, name, None) for name in ("embed_dim", "hidden_dim"))
    return next((width for width in widths if isinstance(width, int)), None)


def feature_info(module: nn.Module) -> list[Mapping[str, Any]]:
    """What a timm model says of its stages, in the order of its forward pass, each with its path.

    It is empty for a network that declares none.
    """
    info = getattr(module, "feature_info", None)
    entries = info if isinstance(info, list) else []
    return [e for e in entries if isinstance(e, Mapping) and isinstance(e.get("module"), str)]


def declared_channels(module: nn.Module) -> dict[str, int]:
    """The channel counts, by layer path, that a timm model lists in its `feature_info`.

    Entries that describe a module's input instead of its output are left out.
    """
    return {
        entry["module"]: entry["num_chs"]
        for entry in feature_info(module)
        if isinstance(entry.get("num_chs"), int) and entry.get("hook_type") in (None, "forward")
    }
