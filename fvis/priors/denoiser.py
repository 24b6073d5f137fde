"""`prior=denoiser`: pictures are drawn towards what a denoiser makes of them.

Romano, Elad & Milanfar, "The Little Engine That Could: Regularization by Denoising (RED)", SIAM
Journal on Imaging Sciences 2017: its gradient is the residual x - D(x, sigma). Here sigma falls
during the ascent, and residuals are measured against those of photographs.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fvis import photographs
from fvis.ascent import Pull
from fvis.errors import RequestError, described, exits_are_errors
from fvis.models.base import Preprocessing
from fvis.priors.base import PRIORS, Prior, bytes_of, of_factory, weights_of
from fvis.schema import DenoiserConfig

CALIBRATION = "zoo:photographs"
LEVELS = 4  # at which photographs' residuals are measured, evenly spaced in log sigma


class DenoiserPrior(Prior):
    """Pulls pictures along the residuals of `denoise`, D(x, sigma).

    Args:
        config: the weight, and sigma at the first and the last step.
        denoise: maps pictures (B, 3, H, W) in [0, 1] and sigma, the standard deviation of their
            noise in these units, to pictures without it.
        pictures: photographs (N, 3, H, W) that residuals are measured against.

    Raises:
        RequestError: `denoise` fails for the photographs, or hardly changes them.
    """

    def __init__(
        self,
        config: DenoiserConfig,
        denoise: Callable[[Tensor, float], Tensor],
        pictures: Tensor,
    ) -> None:
        self._config, self._denoise = config, denoise
        self.weights, self.bytes = weights_of(denoise), bytes_of(denoise)
        self._usual = [self._usual_residual(pictures, k / (LEVELS - 1)) for k in range(LEVELS)]

    def pulls(self, steps: int) -> Sequence[Pull]:
        """The pull of the residuals, of which sigma falls over so many steps."""
        return (ResidualPull(self, steps),)

    def gradient(self, rgb: Tensor, progress: float) -> Tensor:
        """The residuals of pictures (B, 3, ...), as long as `weight` where they are as photographs.

        `progress`, from 0 to 1, says how far the ascent has come. A picture whose residuals are
        twice as large as photographs' is pulled twice as hard. Each frame of a clip is a picture.
        """
        frames = rgb.detach().movedim(1, -3).flatten(0, -4)
        with torch.no_grad():
            clean = self._denoise(frames, self._sigma(progress)).float()
        residual = (frames - clean).view(rgb.movedim(1, -3).shape).movedim(-3, 1)
        usual = self._usual_at(progress) * math.sqrt(rgb[0].numel())
        return self._config.weight * residual / usual

    def _sigma(self, progress: float) -> float:
        first, last = self._config.sigma
        return float(first ** (1 - progress) * last**progress)

    def _usual_residual(self, pictures: Tensor, progress: float) -> float:
        """The root mean square of photographs' residuals."""
        name, sigma = self._config.factory, self._sigma(progress)
        try:
            with torch.no_grad(), exits_are_errors("its code"):
                clean = self._denoise(pictures, sigma)
                residual = float((pictures - clean.view_as(pictures)).square().mean().sqrt())
        except Exception as error:  # the user's own code fails in its own ways
            raise RequestError(f"{name} fails for photographs: {described(error)}") from error
        if not 1e-6 < residual < math.inf:
            raise RequestError(f"{name} changes photographs by {residual:g} for sigma={sigma:.3g}")
        return residual

    def _usual_at(self, progress: float) -> float:
        """Photographs' residuals at any time, between the levels at which they were measured."""
        place = progress * (LEVELS - 1)
        low = min(int(place), LEVELS - 2)
        before, after = self._usual[low : low + 2]
        return float(before ** (1 - place + low) * after ** (place - low))


class ResidualPull:
    """A denoiser's pull in an ascent of `steps` steps."""

    def __init__(self, prior: DenoiserPrior, steps: int) -> None:
        self._prior, self._last = prior, max(1, steps - 1)

    def gradient(self, rgb: Tensor, step: int) -> Tensor:
        """The residuals of pictures (B, 3, ...) at a step."""
        return self._prior.gradient(rgb, step / self._last)


@PRIORS.register("denoiser")
def build(config: DenoiserConfig, inputs: Preprocessing, device: torch.device) -> Prior:
    """The denoiser that `prior.factory` returns, measured on the photographs of the package."""
    files = photographs.find(CALIBRATION)
    pictures = torch.stack([photographs.load(file, inputs) for file in files])
    return DenoiserPrior(config, of_factory(config, device), pictures.to(device))
