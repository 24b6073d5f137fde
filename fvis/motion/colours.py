"""Velocity as colour: hue is direction, brightness is speed, a wheel is the legend."""

import math

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

# From OKLab to linear sRGB: the cube of TO_LMS @ lab, times FROM_LMS.
# Ottosson, "A perceptual color space for image processing", 2020.
TO_LMS = (
    (1.0, 0.3963377774, 0.2158037573),
    (1.0, -0.1055613458, -0.0638541728),
    (1.0, -0.0894841775, -1.2914855480),
)
FROM_LMS = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)
# The circle of hues: of one lightness, so that no direction looks faster than another, and of the
# chroma that screens can show there: CHROMA + SWELL * cos(hue + SWELL_AT), least at cyan.
LIGHTNESS, CHROMA, SWELL, SWELL_AT = 0.7, 0.145, 0.034, math.radians(13)
RED = math.radians(29.23)  # the hue angle of sRGB's red: motion to the right

SMALLEST_SCALE = 0.1  # px/frame; slower than this is still
SPEED_PERCENTILE = 99
SMALLEST_HEIGHT = 224  # px of a motion picture
BACKGROUND, INK = 1.0, 0.0  # of the legend


def flow_colours(flow: Tensor, scale: float) -> Tensor:
    """RGB (3, ..., H, W) in [0, 1] of a flow (2, ..., H, W) in px/frame, x right and y down.

    The hue is the direction: red is right and the hue circle runs counter-clockwise as seen on
    the screen (up yellow-green, left cyan, down violet). The brightness is the speed over `scale`
    px/frame, from black, still, to the full colour at `scale` or faster.
    """
    flow = flow.float()
    x, y = flow
    speed = (flow.norm(dim=0) / scale).clamp(max=1)
    hue = torch.atan2(-y, x) + RED
    chroma = CHROMA + SWELL * torch.cos(hue + SWELL_AT)
    lab = [torch.full_like(hue, LIGHTNESS), chroma * torch.cos(hue), chroma * torch.sin(hue)]
    lms = torch.einsum("ij,j...->i...", flow.new_tensor(TO_LMS), torch.stack(lab)) ** 3
    rgb: Tensor = _encode(torch.einsum("ij,j...->i...", flow.new_tensor(FROM_LMS), lms)) * speed
    return rgb


def _encode(light: Tensor) -> Tensor:
    """Linear light as sRGB (IEC 61966-2-1)."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def colour_wheel(size: int, scale: float, background: float = BACKGROUND) -> Tensor:
    """The legend (3, size, size): at each place of a disc the colour of the velocity towards it.

    The speed is 0 at the centre and `scale` px/frame at the rim; around the disc is a grey of
    `background` in [0, 1].
    """
    radius = size / 2
    place = torch.arange(size) + 0.5 - radius
    y, x = torch.meshgrid(place, place, indexing="ij")
    towards = torch.stack([x, y])
    inside = (radius - towards.norm(dim=0)).clamp(0, 1)  # the rim's pixels, by the part inside
    colours = flow_colours(towards / radius * scale, scale)
    return torch.lerp(torch.tensor(background), colours, inside)


def speed_scale(velocity: Tensor) -> float:
    """The speed, in px/frame, that a velocity (2, ...) is shown at full brightness from.

    The 99th percentile of the speeds, rounded up to 1, 2 or 5 times a power of ten; never under
    0.1 px/frame, so that what stands still is black and not its noise in colour.
    """
    speeds = velocity.detach().float().norm(dim=0).flatten()
    # kthvalue, not quantile: that one refuses more than 16 million numbers.
    fast = speeds.kthvalue(math.ceil(len(speeds) * SPEED_PERCENTILE / 100)).values.item()
    fast *= 1 - 1e-3  # a field at 2 px/frame but for rounding is shown at 2, not at 5
    if not SMALLEST_SCALE < fast < math.inf:
        return SMALLEST_SCALE
    power = math.floor(math.log10(fast))
    steps = (float(f"{step}e{power}") for step in (1, 2, 5, 10))
    return next((step for step in steps if step >= fast), 10.0 ** (power + 1))


def motion_clip(velocity: Tensor, scale: float) -> Tensor:
    """The clip (3, T-1, H', W') that shows a velocity (2, T-1, H, W) in px/frame, with its legend.

    Each frame is enlarged by a whole factor, every pixel of it a true value, to 224 px of height
    or more; the same panel with the wheel and its scale stands to the right of every frame.
    H' and W' are even.
    """
    _, frames, h, _ = velocity.shape
    colours = flow_colours(velocity.detach(), scale).cpu()
    factor = math.ceil(SMALLEST_HEIGHT / h)
    colours = colours.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    height, width = colours.shape[2:]
    colours = functional.pad(colours, (0, width % 2, 0, height % 2), mode="replicate")
    panel = _legend(height + height % 2, scale)
    return torch.cat([colours, panel[:, None].expand(-1, frames, -1, -1)], dim=3)


def _legend(height: int, scale: float) -> Tensor:
    """The panel (3, height, W), W even: the wheel and under it the speed at its rim."""
    margin = height // 16
    wheel = colour_wheel(height // 2, scale)
    text = _text(f"rim: {scale:g} px/frame", height // 14)
    width = 2 * math.ceil(max(wheel.shape[2], text.shape[1]) / 2) + 2 * margin
    panel = torch.full((3, height, width), BACKGROUND)
    top = (height - wheel.shape[1] - margin // 2 - text.shape[0]) // 2
    _paste(panel, wheel, top)
    _paste(panel, text.expand(3, -1, -1), top + wheel.shape[1] + margin // 2)
    return panel


def _paste(panel: Tensor, picture: Tensor, top: int) -> None:
    _, h, w = picture.shape
    left = (panel.shape[2] - w) // 2
    panel[:, top : top + h, left : left + w] = picture


def _text(text: str, size: int) -> Tensor:
    """A line of text (H, W) in letters of `size` px, cut to its outline."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    image = Image.new("L", (right - left, bottom - top), round(255 * BACKGROUND))
    ImageDraw.Draw(image).text((-left, -top), text, fill=round(255 * INK), font=font)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(image.height, image.width) / 255
