"""`fvis concept`: a direction at a layer that tells photographs with a concept from others.

Kim et al., "Interpretability Beyond Feature Attribution: Quantitative Testing with Concept
Activation Vectors", ICML 2018 (arXiv 1711.11279).
"""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from fvis import grounding, photographs
from fvis.capture import Network
from fvis.context import Context
from fvis.errors import RequestError
from fvis.models.checkpoints import sha256_of_file
from fvis.objectives import resolve
from fvis.objectives.concepts import Concepts, read_concepts, write_concepts
from fvis.randomness import random_generator
from fvis.record.unit import ConceptRecord

FOLDS = 5
SHUFFLES = 99  # random groups: a hundredth is above the 5th highest of them one time in twenty


def fit_concept(
    context: Context, folders: tuple[str, str], fit: str
) -> tuple[ConceptRecord, Tensor]:
    """The direction (C,) at `target.layer` from photographs without a concept to those with it.

    `folders` have the photographs with the concept, and those without. `fit` is `mean` (the
    difference of their means) or `probe` (the normal of a logistic regression). Raises
    `RequestError` for fewer than five photographs on a side, and for one that is on both.
    """
    config, model = context.config, context.model
    target = dataclasses.replace(config.target, units=0, repeats=1)
    if target.direction is not None or target.joint is not None or target.dictionary is not None:
        raise RequestError("fvis concept takes target.layer and target.position, no other target")
    photographs.refuse_clips(model, "fvis concept")
    _refuse_shared(folders)
    targets = resolve(target, model, config.engine.seed)
    network = Network(model, targets.layers, target.output, context.autocast)
    groups = []
    for folder in folders:
        settings = dataclasses.replace(config.grounding, images=folder)
        natural = grounding.natural_responses(settings, model, targets, network)
        if len(natural.files) < FOLDS:
            raise RequestError(f"{folder} has {len(natural.files)} photographs; {FOLDS} are needed")
        groups.append(natural.scores.double())
    shown, others = groups
    record = ConceptRecord(
        model=model.name,
        weights=model.sha256,
        layer=target.layer,
        position=target.position,
        fit=fit,
        photographs=(len(shown), len(others)),
        accuracy=held_out_accuracy(shown, others, fit, config.engine.seed),
        chance=chance_accuracy(shown, others, fit, config.engine.seed),
    )
    direction, _ = separation(shown, others, fit)
    return record, direction.float()


def separation(shown: Tensor, others: Tensor, fit: str) -> tuple[Tensor, float]:
    """The direction (C,) of length 1 and the threshold t: v is on the concept's side if d v > t.

    `shown` (N, C) and `others` (M, C) are the layer's values for photographs with the concept and
    without. Raises `RequestError` where all values of both are the same.

    >>> separation(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]]), "mean")
    (tensor([1., 0.]), 2.0)
    """
    direction, threshold = _fitted(shown, others, fit)
    length = direction.norm()
    if not length > 0:
        raise RequestError("the layer has the same values for photographs with and without it")
    return direction / length, (threshold / length).item()


def _fitted(shown: Tensor, others: Tensor, fit: str) -> tuple[Tensor, Tensor]:
    """The direction, of any length, and its threshold; both are 0 where the means are the same."""
    if fit == "probe":
        return _probe(shown, others)
    direction = shown.mean(0) - others.mean(0)
    return direction, direction @ (shown.mean(0) + others.mean(0)) / 2


def _probe(shown: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """The normal and the threshold of a logistic regression on standardized values."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise RequestError("--fit probe needs scikit-learn: pip install 'fvis[probe]'") from None
    values = torch.cat([shown, others])
    mean, spread = values.mean(0), values.std(0)
    spread = torch.where(spread > 0, spread, 1.0)  # units that never change have no say
    labels = [1] * len(shown) + [0] * len(others)
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit(((values - mean) / spread).numpy(), labels)
    normal = torch.from_numpy(model.coef_[0]) / spread
    return normal, normal @ mean - torch.from_numpy(model.intercept_)[0]


def held_out_accuracy(shown: Tensor, others: Tensor, fit: str, seed: int) -> float:
    """The share of photographs on the right side of a direction fitted without them.

    Each is judged once, in one of five folds; the accuracies of both groups count alike.
    """
    folds = []
    for name, values in (("shown", shown), ("others", others)):
        order = torch.randperm(len(values), generator=random_generator(seed, "concept", name))
        folds.append(order % FOLDS)
    right = [0.0, 0.0]
    for fold in range(FOLDS):
        kept = [v[f != fold] for v, f in zip((shown, others), folds, strict=True)]
        direction, threshold = _fitted(kept[0], kept[1], fit)
        right[0] += (shown[folds[0] == fold] @ direction > threshold).sum().item()
        right[1] += (others[folds[1] == fold] @ direction <= threshold).sum().item()
    return (right[0] / len(shown) + right[1] / len(others)) / 2


def chance_accuracy(shown: Tensor, others: Tensor, fit: str, seed: int) -> float:
    """The held-out accuracy that one in twenty directions exceeds if groups mean nothing.

    It is that of photographs dealt into two groups of the same sizes at random (a permutation
    test): how photographs are alike, and that judgements share fits, count in both.
    """
    photographs_of_both = torch.cat([shown, others])
    accuracies = []
    for shuffle in range(SHUFFLES):
        generator = random_generator(seed, "concept", "shuffle", shuffle)
        order = torch.randperm(len(photographs_of_both), generator=generator)
        dealt = photographs_of_both[order].split([len(shown), len(others)])
        accuracies.append(held_out_accuracy(dealt[0], dealt[1], fit, seed))
    return sorted(accuracies)[-(SHUFFLES + 1) // 20]


def add_concept(path: Path, name: str, concept: tuple[ConceptRecord, Tensor]) -> None:
    """Write a concept into a file of concepts, beside those of the same layer that it has.

    Raises `RequestError` for a file that is no such file, or has concepts of another layer.
    """
    concepts: Concepts = {}
    if path.exists():
        found = read_concepts(path)
        if found is None:
            raise RequestError(f"{path} is there, and is no file of concepts")
        concepts = found
    record = concept[0]
    for other, _ in concepts.values():
        if (other.layer, other.weights) != (record.layer, record.weights):
            raise RequestError(
                f"{path} has concepts at {other.layer} of {other.model}: give another --out"
            )
    write_concepts(path, {**concepts, name: concept})


def _refuse_shared(folders: tuple[str, str]) -> None:
    """Raise `RequestError` where a photograph with the concept is also among those without it."""
    shown, others = (
        {sha256_of_file(file): file for file in photographs.find(folder)} for folder in folders
    )
    both = shown.keys() & others.keys()
    if both:
        first = min(both, key=lambda digest: shown[digest])
        raise RequestError(f"{shown[first]} and {others[first]} are the same photograph")
