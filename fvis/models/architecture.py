"""What a network declares about its architecture: attention, prefix tokens, stages, channel counts.

The attributes that timm's models declare are read first; class names are the last resort. The
settings `model.attends`, `target.prefix_tokens` and `target.channel_dim` override what is found.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any

from torch import nn

# Parameters that are tokens, as transformers of timm, torchvision, OpenAI and Meta call them.
PREFIX_TOKEN = re.compile(
    r"(cls_token|class_token|class_embedding|dist_token|distillation_token|reg_token|register_token"
    r")s?_?\d*$"
)


def timm_layers(*names: str) -> tuple[type[nn.Module], ...]:
    """Classes of `timm.layers`, by name: those that the installed timm has.

    There are none before timm is imported: no network has any then.
    """
    layers = sys.modules.get("timm.layers")
    return tuple(getattr(layers, name) for name in names if hasattr(layers, name))


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

    Where the network does not declare it, its parameters tell: a `class_token` (1, 1, C) is one
    token, a `reg_token` (1, 4, C) four. Of numbered ones, `cls_token_0` and so on, each branch has
    one. It is 0 for a network without any.
    """
    if isinstance(count := getattr(module, "num_prefix_tokens", None), int):
        return count
    found: dict[str, int] = {}
    for path, parameter in module.named_parameters():
        kind = PREFIX_TOKEN.match(path.rpartition(".")[2])
        if kind:
            count = parameter.shape[-2] if parameter.dim() > 1 else 1
            found[kind[1]] = max(count, found.get(kind[1], 0))
    return sum(found.values())


def reorders_tokens(module: nn.Module) -> bool:
    """Whether a transformer keeps its patch tokens in another order than that of rows and columns.

    Hiera does: its module `Unroll` puts those next to one another that it will pool.
    """
    return any(type(part).__name__ == "Unroll" for part in module.modules())


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
