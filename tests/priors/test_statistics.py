"""Photographs' statistics pull pictures as long as these are further off, each row for itself."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from fvis import photographs, response_cache
from fvis.artifacts import read_png
from fvis.compose import compose
from fvis.context import Context
from fvis.errors import RequestError
from fvis.models.layers import survey
from fvis.priors.statistics import KnownStatistics, layers_before, statistics, usual
from fvis.randomness import random_generator
from fvis.runner import prepare
from fvis.schema import ActivationMaximizationConfig, parse
from fvis.synthesis import Synthesizer
from tests.priors.runs import png, resumed_after, solved

PRIOR = ("prior=statistics", "prior.images=zoo:glyphs")
TRAINED = ("prior=statistics", "prior.weight=0.5")
QUICK = ("engine.steps=20", "engine.device=cpu", "engine.canvas=full")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def context(*words: str) -> Context:
    return prepare(parse(compose([*QUICK, *words])))


def synthesizer(*words: str) -> Synthesizer:
    given = context(*words)
    assert isinstance(given.config.method, ActivationMaximizationConfig)
    return Synthesizer(given, given.config.method)


def distances(made: Synthesizer, rgb: torch.Tensor) -> torch.Tensor:
    """How far pictures (B, 3, H, W) are off, as the prior tells it."""
    assert isinstance(made.prior, KnownStatistics)
    with made._watch() as network, torch.no_grad():
        return made.prior.distance(network(rgb)[: len(made.prior.layers)])


@pytest.mark.parametrize("model", ["glyph_cnn", "glyph_vit"])
def test_statistics_come_nearer_and_the_activation_still_rises(model: str, tmp_path: Path) -> None:
    words = (f"model={model}", "target.units=[4,9]", "engine.steps=30")
    further = without_and_with(words, (*PRIOR, "prior.weight=0.7"), tmp_path)
    assert bool((further[0] > further[1]).all())


def without_and_with(
    words: tuple[str, ...], prior: tuple[str, ...], folder: Path
) -> list[torch.Tensor]:
    """How far pictures are off that are made without the prior, and with it; all have risen."""
    judge, off = synthesizer(*words, *prior), []
    for more in ((), (*prior, "prior.compare=false")):
        results = solved(context(*words, *more))
        pictures = [png(result, folder) and saved(folder) for result in results]
        off.append(distances(judge, torch.stack(pictures)))
        for result in results:
            activation = result.record.activation
            assert activation.final is not None and activation.initial is not None
            assert activation.final > activation.initial + 0.3
    return off


def saved(folder: Path) -> torch.Tensor:
    return torch.from_numpy(read_png(folder / "image.png"))


def test_photographs_themselves_are_hardly_pulled_and_noise_is() -> None:
    made = synthesizer(*PRIOR)
    files = photographs.find("zoo:glyphs")
    natural = distances(made, photographs.batch(files, made.network().model.preprocessing))
    noise = distances(made, torch.rand(4, 3, 64, 64, generator=random_generator("noise")))
    assert natural.median().item() < 0.1 and natural.max().item() < 1 < noise.min().item()


def test_what_is_as_near_as_photographs_is_not_pulled_at_all() -> None:
    found = torch.randn(50, 2, 6, generator=random_generator("found")) * 3 + 1
    of = usual(found)
    assert of.further(of.centre[None]).item() == 0
    assert of.further(of.centre[None] + 0.3 * of.width).item() == 0
    one, two = (of.further(of.centre[None] + k * of.width).item() for k in (3, 6))
    assert 0 < one < two


def test_a_channel_that_never_changes_does_not_make_the_rest_of_no_account() -> None:
    found = torch.randn(50, 2, 6, generator=random_generator("found"))
    found[:, :, 0] = 2.0
    of = usual(found)
    values = found[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(of.further(values + 3).sum(), values)
    assert bool(gradient.isfinite().all())
    assert gradient[..., 0].abs().max() < 10 * gradient[..., 1:].abs().max()


def test_the_mean_and_the_log_deviation_leave_prefix_tokens_out() -> None:
    made = synthesizer("model=glyph_vit", *PRIOR)
    assert made.prior is not None
    layer = next(each for each in made.prior.layers if each.prefix)
    tokens = torch.randn(2, *layer.shape[1:], generator=random_generator("tokens")) * 5 + 1
    told = statistics(layer, tokens)
    rest = tokens[:, layer.prefix :]
    assert torch.allclose(told[:, 0], rest.mean(1), atol=1e-5)
    assert torch.allclose(told[:, 1], rest.std(1, unbiased=False).log(), atol=1e-4)


@pytest.mark.parametrize("prior", [PRIOR, TRAINED], ids=["photographs", "trained"])
def test_no_picture_depends_on_its_neighbours(prior: tuple[str, ...], tmp_path: Path) -> None:
    few = "engine.steps=6"  # more of them enlarge the rounding of the last bits
    words = (*prior, "prior.compare=false", few)
    together = solved(context("target.units=[4,9]", *words))
    (alone,) = solved(context("target.units=9", *words))
    other, same, itself = (
        png(result, tmp_path) and saved(tmp_path).clone() for result in (*together, alone)
    )
    assert (same - itself).abs().max().item() <= 2 / 255
    assert (other - itself).abs().max().item() > 0.2


@pytest.mark.parametrize("prior", [PRIOR, TRAINED], ids=["photographs", "trained"])
def test_a_saved_ascent_goes_on_to_the_same_bytes(prior: tuple[str, ...], tmp_path: Path) -> None:
    words = (*prior, "target.units=4", "prior.compare=false")
    (whole,) = solved(context(*words))
    (resumed,) = resumed_after(9, lambda: context(*words), tmp_path / "state.pt")
    assert png(resumed, tmp_path) == png(whole, tmp_path)
    assert resumed.record.activation == whole.record.activation


def test_the_record_says_which_photographs_and_what_they_cost(tmp_path: Path) -> None:
    (result,) = solved(context(*PRIOR, "target.units=4"))
    prior = result.record.prior
    (free,) = solved(context("target.units=4"))
    assert prior is not None and prior.weights is not None
    assert (prior.name, prior.weights.of) == ("statistics", "photographs")
    assert prior.activation == {
        "with": result.record.activation.final,
        "without": free.record.activation.final,
    }
    (tmp_path / "some").mkdir()
    for file in photographs.find("zoo:glyphs")[:2]:
        shutil.copy(file, tmp_path / "some")
    few = ("prior=statistics", f"prior.images={tmp_path}/some", "engine.steps=2")
    (other,) = solved(context(*few, "target.units=4", "prior.compare=false"))
    assert other.record.prior is not None and other.record.prior.weights is not None
    assert other.record.prior.weights.sha256 != prior.weights.sha256


def test_without_photographs_pictures_come_nearer_to_what_batch_norms_keep(tmp_path: Path) -> None:
    off = without_and_with(("target.units=[4,9]", "engine.steps=30"), TRAINED, tmp_path)
    assert bool((off[1] < 0.95 * off[0]).all())


def test_a_picture_with_the_statistics_that_batch_norms_keep_is_not_off() -> None:
    model = context().model
    first, other = (
        torch.rand(1, 3, 64, 64, generator=random_generator("rgb")) ** power for power in (1, 2)
    )
    norms = [each for each in model.module.modules() if isinstance(each, nn.BatchNorm2d)]
    for norm in norms:  # one after the other: each changes what the next ones see
        seen: list[torch.Tensor] = []
        handle = norm.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            model.module(model.preprocessing.normalise(first))
        handle.remove()
        norm.running_mean = seen[0].mean((0, 2, 3))
        norm.running_var = seen[0].var((0, 2, 3), unbiased=False)
    given = prepare(parse(compose([*QUICK, *TRAINED, "prior.every=1"])), model)
    assert isinstance(given.config.method, ActivationMaximizationConfig)
    made = Synthesizer(given, given.config.method)
    assert made.prior is not None and len(made.prior.layers) == len(norms)
    assert made.prior.weights is None, "they are the network's own"
    assert distances(made, first).item() < 0.01
    assert distances(made, other).item() > 0.1


def test_photographs_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = synthesizer(*PRIOR)
    monkeypatch.setattr(response_cache, "_measure", None)  # a call would fail
    rgb = torch.rand(2, 3, 64, 64, generator=random_generator("rgb"))
    assert torch.equal(distances(first, rgb), distances(synthesizer(*PRIOR), rgb))


def test_every_so_many_th_layer_before_the_targets_is_read() -> None:
    made = synthesizer("target.layer=layer3")
    model = made.network().model
    paths = [[each.path for each in layers_before(model, made.targets, k)] for k in (1, 3, 100)]
    assert paths[1] == paths[0][2::3] and paths[2] == paths[0][-1:]
    assert "layer3.0.conv1" in paths[0] and not any("layer4" in path for path in paths[0])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*PRIOR, "engine.canvas=32"], "makes whole pictures"),
        ([*PRIOR, "method=texture_motion"], "activation_maximization alone"),
        ([*PRIOR, "target.output=0"], "does not take target.output"),
        ([*PRIOR, "prior.every=0"], "prior.every is 0"),
    ],
)
def test_a_wrong_request_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(compose(words))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_too_few_photographs_clips_and_first_layers_are_refused() -> None:
    with pytest.raises(RequestError, match="1 photograph that can be read"):
        file = photographs.find("zoo:glyphs")[0].name
        synthesizer("prior=statistics", f"prior.images=zoo:glyphs/{file}")
    with pytest.raises(RequestError, match="takes clips"):
        context(*PRIOR, "model=planted_motion")
    first = next(iter(survey(context().model)))
    with pytest.raises(RequestError, match=f"no layer with positions runs before {first}"):
        synthesizer(*PRIOR, f"target.layer={first}")
    with pytest.raises(RequestError, match=f"no batch norm runs before {first}"):
        synthesizer(*TRAINED, f"target.layer={first}")
