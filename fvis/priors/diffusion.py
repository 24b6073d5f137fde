"""`prior=diffusion`: a diffusion model draws the picture, guided by the score at every step.

Pierzchlewicz et al., "Energy Guided Diffusion for Generating Neurally Exciting Images", NeurIPS
2023: the score of the estimated clean picture guides the sampler. How far it leads is measured
against the sampler's own noise, as in Yang et al. 2024, "Guidance with Spherical Gaussian
Constraint for Conditional Diffusion".
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from fvis.adam import unit_length
from fvis.ascent import Pull, Views, climbing
from fvis.errors import RequestError
from fvis.models.base import Preprocessing
from fvis.optimization import AdamOptimization, Optimization
from fvis.parametrizations import Parametrization
from fvis.parametrizations.base import leaf
from fvis.priors.base import PRIORS, Prior
from fvis.priors.pipelines import DiffusionModel, load
from fvis.randomness import normal, random_generator
from fvis.schema import DiffusionConfig, EngineConfig
from fvis.sizes import resized

SEEDS = 2**62


@dataclass(frozen=True)
class NoisyPicture(Parametrization):
    """Latents (B, C, H, W) on their way from noise to pictures of `shape`, (3, h, w).

    Row b draws its noise from `seeds[b]`.
    """

    seeds: Sequence[int] = ()
    shape: tuple[int, ...] = ()


class DiffusionPrior(Prior):
    """Draws pictures by guided sampling, of which `engine.steps` is the number of steps."""

    draws = whole = True
    library = "diffusers"

    def __init__(self, config: DiffusionConfig, model: DiffusionModel) -> None:
        self._config, self._model = config, model
        self.weights, self.bytes, self.files = model.weights, model.bytes, model.files

    def start(
        self, generators: Sequence[Generator], shape: tuple[int, ...], device: torch.device
    ) -> Parametrization:
        """Pictures of pure noise."""
        latents = leaf(normal(generators, *self._model.shape), device)
        seeds = [int(torch.randint(SEEDS, (), generator=each)) for each in generators]
        return NoisyPicture(
            (latents,), lambda: self.picture(latents, shape), seeds=seeds, shape=shape
        )

    def picture(self, latents: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Latents (B, C, H, W) as RGB pictures (B, *shape) in [0, 1]."""
        return resized(self._model.decode(latents).float(), shape[-2:]).clamp(0, 1)

    def ascent(
        self,
        picture: Parametrization,
        score: Callable[[Tensor], Tensor],
        views: Views,
        pulls: Sequence[Pull],
        engine: EngineConfig,
        seen: Sequence[Tensor] = (),
    ) -> Optimization:
        """The sampler of a picture that this prior has started."""
        assert isinstance(picture, NoisyPicture)
        shape = picture.shape

        def decode(latents: Tensor) -> Tensor:
            return self.picture(latents, shape)

        climb = Climb(score, views, pulls)
        return GuidedSampling(picture, self._model, decode, climb, self._config.strength, engine)


@dataclass(frozen=True)
class Climb:
    """What leads pictures up: the score of their views, and what pulls besides."""

    score: Callable[[Tensor], Tensor]
    views: Views
    pulls: Sequence[Pull]

    def __call__(self, rgb: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The scores (B,) of pictures (B, 3, H, W), and the way up for them (B, 3, H, W)."""
        seen = rgb.detach().requires_grad_(True)
        scores, uphill = climbing(self.score, self.views, seen, step)
        return scores, uphill - sum(pull.gradient(seen, step) for pull in self.pulls)


class GuidedSampling(AdamOptimization):
    """Ancestral sampling (Ho et al. 2020) of `engine.steps` steps, which the score leads.

    At each step, the gradient of the score of the estimated clean picture with respect to the noisy
    one, scaled to length 1 in each row, is added to the noise that the sampler adds anyway:
    `strength` times as long as that is to be expected. So it fades with the noise, and the last
    step's picture is the model's own estimate. A row's noise depends on its seed and the step.
    """

    def __init__(
        self,
        picture: NoisyPicture,
        model: DiffusionModel,
        decode: Callable[[Tensor], Tensor],
        climb: Climb,
        strength: float,
        engine: EngineConfig,
    ) -> None:
        super().__init__(list(picture.parameters), [], engine.steps, engine.log_every)
        (self._latents,) = picture.parameters
        self._seeds, self._model, self._decode, self._climb = picture.seeds, model, decode, climb
        self._strength = strength
        self._times = torch.linspace(len(model.alphas) - 1, 0, engine.steps).round().int().tolist()

    def _advance(self) -> Tensor:
        noisy = self._latents.detach().requires_grad_(True)
        clean, noise = self._model.estimate(noisy, self._times[self.done])
        rgb = self._decode(clean)
        scores, uphill = self._climb(rgb, self.done)
        (guide,) = torch.autograd.grad((rgb * uphill).sum(), noisy)
        guide = unit_length(guide)
        with torch.no_grad():
            self._latents.copy_(self._next(clean.detach(), noise.detach(), guide))
        return scores

    def _next(self, clean: Tensor, noise: Tensor, guide: Tensor) -> Tensor:
        """The latents of the next time: less noisy, with fresh noise and guidance in it."""
        now, after = self._alpha(self.done), self._alpha(self.done + 1)
        fresh = math.sqrt((1 - after) / (1 - now) * (1 - now / after))
        kept = math.sqrt(max(0.0, 1 - after - fresh**2))
        mean = math.sqrt(after) * clean + kept * noise
        if fresh == 0:
            return mean
        generators = [random_generator("diffusion", seed, self.done) for seed in self._seeds]
        drawn = normal(generators, *clean.shape[1:]).to(clean.device)
        return mean + fresh * (drawn + self._strength * math.sqrt(guide[0].numel()) * guide)

    def _alpha(self, step: int) -> float:
        return float(self._model.alphas[self._times[step]]) if step < self.steps else 1.0


@PRIORS.register("diffusion")
def build(config: DiffusionConfig, inputs: Preprocessing, device: torch.device) -> Prior:
    """The model of diffusers that `prior.model` names, as a prior of images."""
    if inputs.frames is not None:
        raise RequestError("prior=diffusion draws images, and the network takes clips")
    return DiffusionPrior(config, load(config, device))
