"""Velocities as colours: hue is direction, brightness is speed; a colour wheel is the legend."""

import itertools
import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from fvis.artifacts import to_bytes

# OKLab to linear sRGB: rgb = FROM_LMS @ (TO_LMS @ lab) ** 3.
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
# All hues have the same lightness, so that no direction looks faster than another. Their chroma is
# CHROMA + SWELL * cos(hue + SWELL_AT), lowest near cyan; every hue stays within sRGB.
LIGHTNESS, CHROMA, SWELL, SWELL_AT = 0.7, 0.145, 0.034, math.radians(13)
RED = math.radians(29.23)  # OKLab hue angle of sRGB's red, which stands for motion to the right

SMALLEST_SCALE = 0.1  # px/frame: smallest colour scale; a slower unit counts as still
SPEED_PERCENTILE = 99  # of the speeds; the colour scale is chosen so that it fits this percentile
CELLS = 8  # arrows along each side of a frame
FAINTEST = 0.1  # share of the colour scale; a slower flow gets no arrow
HEAD = 0.35  # length of an arrow's head, as a share of its own
SMALLEST_HEIGHT = 224  # px; smaller motion clips are enlarged to at least this height
BACKGROUND, INK = 1.0, 0.0  # grey levels in [0, 1] of the legend's background and text


def flow_colours(flow: Tensor, scale: float) -> Tensor:
    """Colour a flow (2, ..., H, W) in px/frame, x right and y down: RGB (3, ..., H, W) in [0, 1].

    The hue is the direction: right is red, up yellow-green, left cyan, down violet. Brightness
    grows linearly with speed, from black at 0 to the full colour at `scale` px/frame or faster.

    >>> right = torch.tensor([2.0, 0.0]).view(2, 1, 1)
    >>> [round(value, 2) for value in flow_colours(right, scale=2.0).flatten().tolist()]
    [0.96, 0.43, 0.37]
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
    """Encode linear light as sRGB (IEC 61966-2-1), clamped to [0, 1]."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def colour_wheel(size: int, scale: float, background: float = BACKGROUND) -> Tensor:
    """The legend of `flow_colours`: a disc (3, size, size), RGB in [0, 1].

    Each point of the disc has the colour of the velocity that points from the centre to it. The
    speed is 0 at the centre and `scale` px/frame at the rim. Outside the disc the picture is grey,
    of level `background` in [0, 1].
    """
    radius = size / 2
    place = torch.arange(size) + 0.5 - radius
    y, x = torch.meshgrid(place, place, indexing="ij")
    towards = torch.stack([x, y])
    inside = (radius - towards.norm(dim=0)).clamp(0, 1)  # fractional at the rim: antialiased
    colours = flow_colours(towards / radius * scale, scale)
    return torch.lerp(torch.tensor(background), colours, inside)


def speed_scale(velocity: Tensor) -> float:
    """The speed in px/frame at which a velocity (2, ...) should reach full brightness.

    This is the 99th percentile of the speeds, rounded up to 1, 2 or 5 times a power of ten. It is
    at least 0.1 px/frame, so that the noise of a still unit appears black.

    >>> speed_scale(torch.full((2, 1, 8, 8), 1.0))  # the speed is 1.41
    2.0
    """
    speeds = velocity.detach().float().norm(dim=0).flatten()
    # torch.quantile refuses more than 16 million numbers, kthvalue does not.
    fast = speeds.kthvalue(math.ceil(len(speeds) * SPEED_PERCENTILE / 100)).values.item()
    fast *= 1 - 1e-3  # a uniform 2 px/frame that rounding made 2.0001 gets the scale 2, not 5
    if not SMALLEST_SCALE < fast < math.inf:
        return SMALLEST_SCALE
    power = math.floor(math.log10(fast))
    steps = (float(f"{step}e{power}") for step in (1, 2, 5, 10))
    return next((step for step in steps if step >= fast), 10.0 ** (power + 1))


def motion_clip(velocity: Tensor, scale: float, *, arrows: bool = False) -> Tensor:
    """A clip (3, T-1, H', W') of a velocity (2, T-1, H, W) in px/frame, with a legend on the right.

    Frames are enlarged by a whole factor, without interpolation, to at least 224 px in height. The
    legend shows the colour wheel and the speed at its rim, `scale` px/frame. H' and W' are even,
    as video codecs require. With `arrows`, the mean flow of each eighth of the frame is drawn in.

    >>> motion_clip(torch.zeros(2, 7, 32, 48), scale=1.0).shape[1:3]
    torch.Size([7, 224])
    """
    _, frames, h, _ = velocity.shape
    colours = flow_colours(velocity.detach(), scale).cpu()
    factor = math.ceil(SMALLEST_HEIGHT / h)
    colours = colours.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    height, width = colours.shape[2:]
    if arrows:
        colours = torch.stack(
            [
                _with_arrows(*frame, scale)
                for frame in zip(colours.unbind(1), velocity.unbind(1), strict=True)
            ],
            1,
        )
    colours = functional.pad(colours, (0, width % 2, 0, height % 2), mode="replicate")
    panel = _legend(height + height % 2, scale)
    return torch.cat([colours, panel[:, None].expand(-1, frames, -1, -1)], dim=3)


def _with_arrows(frame: Tensor, velocity: Tensor, scale: float) -> Tensor:
    """A frame (3, H', W') with arrows of a velocity (2, H, W); one of `scale` fills its cell.

    A mean flow that colours could hardly show gets no arrow.
    """
    _, height, width = frame.shape
    rows, columns = (min(size, CELLS) for size in velocity.shape[1:])
    flow = functional.adaptive_avg_pool2d(velocity.detach().float().cpu(), (rows, columns)) / scale
    cell = min(height / rows, width / columns)
    image = Image.fromarray(to_bytes(frame))
    draw = ImageDraw.Draw(image)
    for row, column in itertools.product(range(rows), range(columns)):
        x, y = flow[:, row, column].tolist()
        length = math.hypot(x, y)
        if not length * scale >= SMALLEST_SCALE or length < FAINTEST:
            continue
        shown = min(1.0, length) * cell / length
        middle = ((column + 0.5) * width / columns, (row + 0.5) * height / rows)
        _draw_arrow(draw, middle, (x * shown, y * shown))
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255


def _draw_arrow(
    draw: ImageDraw.ImageDraw, middle: tuple[float, float], along: tuple[float, float]
) -> None:
    """A white arrow with a dark outline, centred on `middle` and as long as `along`, px."""
    (x, y), (dx, dy) = middle, along
    tail, tip = (x - dx / 2, y - dy / 2), (x + dx / 2, y + dy / 2)
    barbs = [
        (tip[0] - HEAD * (dx - side * dy), tip[1] - HEAD * (dy + side * dx)) for side in (-0.6, 0.6)
    ]
    for colour, width in (("black", 4), ("white", 2)):
        draw.line([tail, tip], fill=colour, width=width)
        draw.line([barbs[0], tip, barbs[1]], fill=colour, width=width, joint="curve")


def _legend(height: int, scale: float) -> Tensor:
    """The legend (3, height, W), W even: the colour wheel with the speed at its rim below it."""
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
    """Copy `picture` into `panel` at row `top`, centred horizontally."""
    _, h, w = picture.shape
    left = (panel.shape[2] - w) // 2
    panel[:, top : top + h, left : left + w] = picture


def _text(text: str, size: int) -> Tensor:
    """A line of text (H, W), grey levels in [0, 1], `size` px font, cropped to its bounding box."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    image = Image.new("L", (right - left, bottom - top), round(255 * BACKGROUND))
    ImageDraw.Draw(image).text((-left, -top), text, fill=round(255 * INK), font=font)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(image.height, image.width) / 255
