"""Photographs of every kind a user's folder holds."""

import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import functional as transforms

from fvis import photographs
from fvis.errors import RequestError
from fvis.models.base import Preprocessing
from fvis.photographs import UnreadableError

PLAIN = Preprocessing(24, 32, None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """Red grows to the right, green downwards; the left upper corner is blue."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    rgb = np.stack([x * 255 // width, y * 255 // height, 200 * ((x < 16) & (y < 16))], -1)
    return Image.fromarray(rgb.astype(np.uint8))


def loaded(image: Image.Image, path: Path, **options: object) -> torch.Tensor:
    image.save(path, **options)
    return photographs.load(path, PLAIN)


def test_a_photograph_is_of_the_inputs_size_and_of_whole_levels(tmp_path: Path) -> None:
    rgb = loaded(scene(), tmp_path / "a.png")
    assert rgb.shape == (3, 24, 32)
    levels = rgb * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert rgb[0, :, -1].mean() > rgb[0, :, 0].mean() + 0.8
    assert rgb[1, -1].mean() > rgb[1, 0].mean() + 0.8


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "CMYK"), ("a.png", "P"), ("a.gif", "P"),
                                            ("a.webp", "RGBA"), ("a.tif", "RGB")])  # fmt: skip
def test_other_ways_to_store_colour_are_the_same_picture(
    name: str, mode: str, tmp_path: Path
) -> None:
    colours = {"P": scene().quantize(255)}.get(mode) or scene().convert(mode)
    rgb = loaded(colours, tmp_path / name)
    assert (rgb - loaded(scene(), tmp_path / "plain.png")).abs().mean() < 0.03


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_not_cut_off(name: str, tmp_path: Path) -> None:
    grey = scene().convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    rgb = loaded(deep, tmp_path / name)
    torch.testing.assert_close(rgb, loaded(grey, tmp_path / "grey.png"), atol=1.1 / 255, rtol=0)


def test_thirty_two_bits_have_no_known_range(tmp_path: Path) -> None:
    wide = Image.fromarray(np.asarray(scene().convert("L")).astype(np.int32))
    with pytest.raises(UnreadableError, match="32-bit pixels of unknown range"):
        loaded(wide, tmp_path / "a.tif")


def test_a_rotated_file_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    lying = scene().transpose(Image.Transpose.ROTATE_90)
    rgb = loaded(lying, tmp_path / "a.png", exif=exif)
    torch.testing.assert_close(rgb, loaded(scene(), tmp_path / "b.png"))


def test_a_phones_picture_is_the_first_of_its_file(tmp_path: Path) -> None:
    turned = scene().rotate(180)
    rgb = loaded(scene(), tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[turned])
    torch.testing.assert_close(rgb, loaded(scene(), tmp_path / "b.jpg"))


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    clear = scene().convert("RGBA")
    clear.putalpha(0)
    assert loaded(clear, tmp_path / "a.png").min() == 1


def test_one_pixel_is_a_flat_picture(tmp_path: Path) -> None:
    rgb = loaded(Image.new("RGB", (1, 1), (255, 0, 51)), tmp_path / "a.png")
    torch.testing.assert_close(rgb, torch.tensor([1, 0, 0.2]).view(3, 1, 1).expand(3, 24, 32))


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (250, 250), (20, 30)])
def test_resize_and_crop_are_torchvisions(size: tuple[int, int], tmp_path: Path) -> None:
    square = Preprocessing(224, 224, None, (0.0,) * 3, (1.0,) * 3, 224 / 256, "bilinear")
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    image = transforms.resize(Image.fromarray(noise), 256)
    expected = transforms.pil_to_tensor(transforms.center_crop(image, 224)).float() / 255
    torch.testing.assert_close(photographs.load(tmp_path / "a.png", square), expected)


@pytest.mark.parametrize("size", [(2, 60000), (60000, 2)])
def test_of_a_strip_the_middle_is_seen(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.new("RGB", size, (255, 0, 0))
    middle = (0, 29_990, 2, 30_010) if size[0] == 2 else (29_990, 0, 30_010, 2)
    image.paste((0, 0, 255), middle)
    resize, sizes = transforms.resize, []

    def noting(image: Image.Image, size: list[int], *options: object) -> Image.Image:
        sizes.append(size)
        return resize(image, size, *options)

    monkeypatch.setattr(transforms, "resize", noting)
    seen = loaded(image, tmp_path / "strip.png")
    assert max(sizes[0]) <= 9 * 32
    torch.testing.assert_close(seen, torch.tensor([0.0, 0, 1]).view(3, 1, 1).expand(3, 24, 32))


def test_squashed_pictures_keep_all_of_their_length(tmp_path: Path) -> None:
    squash = Preprocessing(24, 24, None, (0.0,) * 3, (1.0,) * 3, squash=True)
    scene(96, 24).save(tmp_path / "a.png")
    assert photographs.load(tmp_path / "a.png", squash)[0, :, -1].mean() > 0.9
    whole = Preprocessing(24, 24, None, (0.0,) * 3, (1.0,) * 3)
    assert photographs.load(tmp_path / "a.png", whole)[0, :, -1].mean() < 0.7


def bad_files(folder: Path) -> dict[str, Path]:
    scene().save(folder / "whole.jpg")
    files = {name: folder / f"{name}.jpg" for name in ("text", "empty", "half")}
    files["text"].write_text("no picture")
    files["empty"].write_bytes(b"")
    files["half"].write_bytes((folder / "whole.jpg").read_bytes()[:700])
    files["animation"] = folder / "animation.gif"
    scene().save(files["animation"], save_all=True, append_images=[scene().rotate(90)])
    files["float"] = folder / "float.tif"
    Image.fromarray(np.zeros((4, 4), np.float32)).save(files["float"])
    return files


@pytest.mark.parametrize("kind", ["text", "empty", "half", "animation", "float"])
def test_what_is_no_photograph_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    path = bad_files(tmp_path)[kind]
    with pytest.raises(UnreadableError) as caught:
        photographs.load(path, PLAIN)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableError, match="too many pixels"):
        photographs.load(tmp_path / "a.png", PLAIN)


def test_files_folders_and_globs_are_found_once(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.webp"):
        scene().save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "inner.png").mkdir()
    hidden = tmp_path / "._.png"  # as some systems leave beside others; named, it is found
    scene().save(hidden)
    assert photographs.find(hidden) == [hidden]
    assert photographs.names([hidden]) == ["_"]
    names = [p.name for p in photographs.find([str(tmp_path / "c.webp"), str(tmp_path)])]
    assert names == ["c.webp", "a.JPG", "b.png"]
    assert [p.name for p in photographs.find([f"{tmp_path}/?.png"])] == ["b.png"]
    assert photographs.find(tmp_path / "b.png") == [tmp_path / "b.png"]


@pytest.mark.parametrize("spec", ["missing.jpg", "*.png", "."])
def test_what_names_no_file_is_an_error(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="no image file"):
        photographs.find([spec])


def test_embedded_pictures_go_by_name() -> None:
    files = photographs.find(["zoo:glyphs"])
    assert len(files) == 8
    with pytest.raises(RequestError, match="zoo:glyphs"):
        photographs.find(["zoo:glyfs"])


def test_names_tell_files_apart() -> None:
    paths = [Path("a/x.png"), Path("b/x.jpg"), Path("x-2.png"), Path("my photo.png")]
    names = photographs.names(paths)
    assert names == ["x", "x-2", "x-2-2", "my_photo"]


def test_a_pipe_among_the_pictures_is_refused_and_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(RequestError, match="no regular file"):
        photographs.find(str(tmp_path / "pipe.png"))
    with pytest.raises(RequestError, match="no image file"):
        photographs.find(str(tmp_path))


def test_postscript_under_a_pictures_name_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")
    with pytest.raises(photographs.UnreadableError, match="not an image"):
        photographs.read(path)


def test_what_pillow_warns_of_is_not_told_beside_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    upright = ImageOps.exif_transpose

    def warning(image: Image.Image) -> Image.Image:
        warnings.warn("a damaged tag", UserWarning, stacklevel=1)
        return upright(image)

    monkeypatch.setattr(ImageOps, "exif_transpose", warning)
    photographs.read(tmp_path / "a.png")
    assert not recwarn.list


def test_a_file_whose_decoder_fails_in_a_way_of_its_own_is_unreadable(tmp_path: Path) -> None:
    """A TIFF whose second page has no width makes Pillow raise a TypeError as it counts them."""
    path = tmp_path / "a.tif"
    scene().save(path, save_all=True, append_images=[scene()])
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)  # an entry of 12 bytes for each of its tags
    (tags,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<I", data, first + 2 + 12 * tags)
    assert struct.unpack_from("<H", data, second + 2) == (256,), "the width comes first"
    struct.pack_into("<H", data, second + 2, 250)
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match=r"a\.tif cannot be read"):
        photographs.read(path)
