"""What is maximised of a class: its logit, or what tells it from all other classes."""

import math

import torch
from torch import Tensor

VALUE, LOG_ODDS = "value", "log_odds"  # `target.score`


def class_scores(score: str, values: Tensor) -> Tensor:
    """The scores (B, C) of all units, from their values (B, C)."""
    return log_odds(values) if score == LOG_ODDS else values


def class_score_of(score: str, values: Tensor, units: Tensor) -> Tensor:
    """The score (B,) of unit `units[b]` in each row b, from all units' values (B, C)."""
    return class_scores(score, values).gather(1, units[:, None])[:, 0]


def log_odds(logits: Tensor) -> Tensor:
    """Each class's logit (B, C) less the log of the summed exponentials of all others.

    That is log(p / (1 - p)) of its probability p by softmax, for any p that is near to 0 or 1.
    Classes without a finite logit, such as masked ones, do not count.

    >>> log_odds(torch.tensor([[0.0, 0.0, 60.0]]))
    tensor([[-60.0000, -60.0000,  59.3069]])
    """
    logits = logits.masked_fill(~logits.isfinite(), -math.inf)
    top = logits.argmax(1, keepdim=True)
    others = logits.scatter(1, top, -math.inf).logsumexp(1, keepdim=True)  # than the likeliest
    first = logits.gather(1, top) - others
    rest = logits - logits.logsumexp(1, keepdim=True)
    rest = rest - torch.log1p(-rest.exp().clamp(max=0.5))  # no other is likelier than 1/2
    return rest.scatter(1, top, first)
