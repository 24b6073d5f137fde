"""Latents of a sparse autoencoder are read as if its encoder belonged to the network."""

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import fvis
from fvis.errors import RequestError
from fvis.models import load
from fvis.models.layers import Layer
from fvis.objectives.dictionaries import WEIGHTS, Dictionary, files_of, read_dictionary
from fvis.objectives.positions import PositionReader
from fvis.schema import ModelConfig
from tests.conftest import Call

C, K = 48, 64
SIZE = {"height": 64, "width": 64, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
LAYER = Layer("layer2", "Conv2d", (1, C, 4, 6), "BCHW", 0, 1)
TOKENS = Layer("blocks.1", "Block", (1, 1 + 12, C), "BNC", 1, 1)


def planted(seed: int = 0) -> dict[str, Tensor]:
    """An autoencoder whose latents are random directions, with biases."""
    generator = torch.Generator().manual_seed(seed)
    rows = nn.functional.normalize(torch.randn(K, C, generator=generator), dim=1)
    numbers = torch.rand(K + C, generator=generator)
    return {"W_enc": rows.T.contiguous(), "W_dec": rows, "b_enc": numbers[:K], "b_dec": numbers[K:]}


def glyph_cnn() -> nn.Module:
    return load(ModelConfig(source="zoo", name="glyph_cnn"), 0).module


def saved(folder: Path, parts: Mapping[str, Tensor], **settings: Any) -> Path:
    """A folder as SAELens writes it, with a config only if there are settings."""
    folder.mkdir(exist_ok=True)
    save_file(
        {name: part.clone() for name, part in parts.items()}, folder / "sae_weights.safetensors"
    )
    if settings:
        config = {"d_in": C, "d_sae": K, "architecture": "standard", **settings}
        (folder / "cfg.json").write_text(json.dumps(config))
    return folder


def test_every_kind_of_autoencoder_gives_the_latents_of_its_paper(tmp_path: Path) -> None:
    parts = planted()
    x = torch.randn(3, C, 4, 6, generator=torch.Generator().manual_seed(1))
    rows = x.movedim(1, -1)
    pre = rows @ parts["W_enc"] + parts["b_enc"]
    less = (rows - parts["b_dec"]) @ parts["W_enc"] + parts["b_enc"]
    threshold, b_gate = torch.linspace(0, 2, K), torch.linspace(-1, 1, K)
    scale = torch.linspace(-0.5, 0.5, K)
    top = torch.zeros_like(less).scatter(-1, less.topk(5).indices, less.topk(5).values.relu())
    gate = ((rows - parts["b_dec"]) @ parts["W_enc"] + b_gate > 0).float()
    value = (rows - parts["b_dec"]) @ (parts["W_enc"] * scale.exp()) + parts["b_enc"]
    gated = {"b_gate": b_gate, "r_mag": scale, "b_mag": parts["b_enc"]}
    away = rows - rows.mean(-1, keepdim=True)
    normal = away / (away.std(-1, keepdim=True) + 1e-5)
    long = rows / rows.norm(dim=-1, keepdim=True) * math.sqrt(C)
    plain = {"apply_b_dec_to_input": False}
    cases: list[tuple[str, Tensor, dict[str, Tensor], dict[str, Any]]] = [
        ("pre", pre, {}, {}),
        ("post", pre.relu(), {}, plain),
        ("pre", less, {}, {"apply_b_dec_to_input": True}),
        ("pre", less, {}, {"hook_point": "as ViT-Prisma, which subtracts it always"}),
        ("post", top, {}, {"architecture": "topk", "k": 5}),
        ("post", top, {}, {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}}),
        ("post", pre.relu() * (pre > threshold), {"threshold": threshold},
         {"architecture": "jumprelu"} | plain),
        ("post", gate * value.relu(), gated, {"architecture": "gated"}),
        ("pre", normal @ parts["W_enc"] + parts["b_enc"], {},
         {"normalize_activations": "layer_norm"} | plain),
        ("pre", long @ parts["W_enc"] + parts["b_enc"], {},
         {"normalize_activations": "constant_norm_rescale"} | plain),
        ("decoder", rows @ parts["W_dec"].T, {}, {}),
    ]  # fmt: skip
    for number, (read, expected, more, settings) in enumerate(cases):
        folder = saved(tmp_path / str(number), parts | more, **settings)
        found = read_dictionary(folder, read, LAYER)
        assert found.count == K
        every = found.latents(x)
        torch.testing.assert_close(every.movedim(1, -1), expected, rtol=1e-4, atol=1e-4)
        for latent in (0, 17, K - 1):
            alone = found.latent(x, torch.full((3,), latent))
            torch.testing.assert_close(alone, every[:, latent], rtol=1e-5, atol=1e-5)


def test_latents_are_computed_at_each_position_and_then_pooled() -> None:
    parts = planted()
    found = dictionary(parts, "post")
    output = torch.randn(2, 13, C)
    every = (output @ parts["W_enc"] + parts["b_enc"]).relu()
    units = torch.tensor([3, 9])
    for position, index, expected in (
        ("mean", None, every[:, 1:].mean(1)),
        ("index", (4,), every[:, 5]),
        ("cls", None, every[:, 0]),
    ):
        reader = PositionReader(TOKENS, position, index, found)
        torch.testing.assert_close(reader(output), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(reader.units(output, units), expected[[0, 1], units])


def dictionary(parts: Mapping[str, Tensor], read: str) -> Dictionary:
    zeros = torch.zeros(K)
    return Dictionary(
        "sae", "0", read, encoder=parts["W_enc"].T, bias=parts["b_enc"], centre=zeros[:C],
        threshold=zeros,
    )  # fmt: skip


def test_a_latents_picture_is_that_of_a_network_with_the_encoder_built_in(tmp_path: Path) -> None:
    parts = planted()
    network = glyph_cnn()
    built = copy.deepcopy(network)
    encoder = nn.Conv2d(C, K, 1)
    encoder.weight.data, encoder.bias.data = parts["W_enc"].T[..., None, None], parts["b_enc"]
    built.layer2 = nn.Sequential(built.layer2, encoder)
    asked = {"layer": "layer2", "units": [0, 5, 63], "engine": {"steps": 48}, "transforms": "none"}
    center = {"position": "center"}
    read = {"dictionary": str(saved(tmp_path / "sae", parts)), **center}
    latents = fvis.visualize(network, target=read, input=SIZE, **asked)
    units = fvis.visualize(built, target=center, input=SIZE, **asked)
    for latent, unit in zip(latents, units, strict=True):
        assert np.abs(latent.image.astype(int) - unit.image).max() <= 1
        final = latent.metadata["activation"]["final"]
        assert final == pytest.approx(unit.metadata["activation"]["final"], rel=1e-3)
        assert final > latent.metadata["activation"]["initial"] + 1
        assert latent.metadata["dictionary"]["read"] == "pre"
        assert "dictionary" not in unit.metadata


def test_a_latent_that_is_off_climbs_until_it_is_on(tmp_path: Path) -> None:
    """Of 64 latents four may be active: the others' outputs are flat, what comes before is not."""
    network = glyph_cnn().eval()
    outputs: list[Tensor] = []
    hook = network.layer2.register_forward_hook(lambda module, args, made: outputs.append(made))

    def values(rgb: Tensor) -> Tensor:
        network((rgb[None] - 0.5) / 0.25)
        return outputs.pop().detach()

    grey = torch.full((3, 64, 64), 0.5)
    parts = planted() | {"b_dec": values(grey)[0, :, 8, 8].clone(), "b_enc": torch.zeros(K)}
    folder = saved(tmp_path / "sae", parts, architecture="topk", k=4, apply_b_dec_to_input=True)
    reader = PositionReader(LAYER, "index", (8, 8), read_dictionary(folder, "post", LAYER))
    assert not reader(values(grey)).any(), "all of them are off"
    target = {"dictionary": str(folder), "position": "center"}
    with hook:
        found = fvis.visualize(
            network, "layer2", [3, 14, 15, 63], input=SIZE, target=target, transforms="none",
            engine={"steps": 64, "canvas": "full"},
        )  # fmt: skip
        for shown in found:
            outputs.clear()
            active = reader(values(torch.tensor(shown.image).permute(2, 0, 1) / 255))[0]
            assert active[shown.metadata["unit"]] > 0
            assert 0 < (active > 0).sum() <= 4


@pytest.mark.parametrize(
    ("parts", "settings", "read", "words"),
    [
        ({"W_enc": torch.ones(30, K)}, {}, "pre", "W_enc is for 30 channels; layer2 has 48"),
        ({"W_dec": torch.ones(K, C)}, {}, "pre", "holds no W_enc, but W_dec: it takes target.read"),
        ({"b_enc": torch.ones(3), "W_enc": torch.ones(C, K)}, {}, "pre", "b_enc has 3 numbers"),
        ({"W_enc": torch.full((C, K), math.nan)}, {}, "pre", "W_enc holds numbers that are not"),
        ({"W_enc": torch.ones(C, K)}, {"architecture": "temporal"}, "pre", "'temporal' is known"),
        ({"W_enc": torch.ones(C, K)}, {"architecture": "topk"}, "post", "topk needs k"),
        ({"W_enc": torch.ones(C, K)}, {"architecture": "topk", "k": True}, "post", "topk needs k"),
        ({"W_enc": torch.ones(C, K)}, {"architecture": "jumprelu"}, "pre", "threshold has 0"),
        ({"W_enc": torch.ones(C, K)}, {"normalize_activations": "x"}, "pre", "is not one of"),
        ({"W_dec": torch.zeros(K, C)}, {}, "decoder", "a vector that is zero"),
        ({"W_enc": torch.ones(C, K, 1)}, {}, "pre", "not two axes"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, parts: dict[str, Tensor], settings: dict[str, Any], read: str, words: str
) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        read_dictionary(saved(tmp_path / "sae", parts, **settings), read, LAYER)
    assert "\n" not in str(caught.value)


def test_the_config_beside_the_weights_is_an_input_of_the_run(tmp_path: Path) -> None:
    """Its `k` decides which latents are active."""
    for name in (WEIGHTS, "cfg.json", "other.json"):
        (tmp_path / name).write_text("{}")
    assert files_of(tmp_path) == [tmp_path / WEIGHTS, tmp_path / "cfg.json"]


def test_decoder_vectors_alone_are_read_from_every_format(tmp_path: Path) -> None:
    rows = planted()["W_dec"] * 3
    np.save(tmp_path / "d.npy", rows.numpy())
    torch.save(rows, tmp_path / "d.pt")
    save_file({"dictionary": rows}, tmp_path / "d.safetensors")
    for name in ("d.npy", "d.pt", "d.safetensors"):
        found = read_dictionary(tmp_path / name, "decoder", LAYER)
        torch.testing.assert_close(found.encoder, rows / 3)


def test_its_content_is_what_the_config_makes_of_the_weights(tmp_path: Path) -> None:
    made = {
        centred: read_dictionary(
            saved(tmp_path / str(centred), planted(), apply_b_dec_to_input=centred), "pre", LAYER
        )
        for centred in (True, False)
    }
    assert made[True].sha256 == made[False].sha256
    assert made[True].content != made[False].content


@pytest.mark.parametrize("name", ["harmful.pt", "harmful.npy"])
def test_no_code_of_a_file_is_run(tmp_path: Path, name: str) -> None:
    harmful = {"cfg": Path("x")}
    torch.save(harmful, tmp_path / "harmful.pt")
    np.save(tmp_path / "harmful.npy", np.array([harmful]), allow_pickle=True)
    with pytest.raises(RequestError, match="could run code"):
        read_dictionary(tmp_path / name, "decoder", LAYER)


def test_the_command_lists_the_latents_and_refuses_what_does_not_fit(
    tmp_path: Path, forked_fvis: Call
) -> None:
    folder = saved(tmp_path / "sae", planted())
    words = ["model=glyph_cnn", "target.layer=layer2", f"target.dictionary={folder}"]
    listed = forked_fvis("layers", *words)
    rows = [line.rstrip() for line in listed.stdout.splitlines() if "its dictionary" in line]
    assert len(rows) == 1
    assert rows[0].endswith(str(K))
    for more, said in (
        (f"target.units={K}", f"units 0 to {K - 1}"),
        ("target.joint=[{unit: 1}]", "target.dictionary takes target.units"),
        ("target.read=later", "it takes one of: pre, post, decoder"),
    ):
        ran = forked_fvis("run", *words, more)
        assert ran.returncode == 2
        assert said in ran.stderr
        assert ran.stderr.count("\n") == 1


def test_the_real_packages_folder_is_read_bit_for_bit(tmp_path: Path) -> None:
    saes = pytest.importorskip("sae_lens.saes")
    config = saes.TopKSAEConfig(d_in=C, d_sae=K, k=5, dtype="float32", device="cpu")
    autoencoder = saes.TopKSAE(config)
    autoencoder.b_enc.data.normal_()
    autoencoder.save_model(tmp_path)
    found = read_dictionary(tmp_path, "post", LAYER)
    assert torch.equal(found.encoder, autoencoder.W_enc.T)
    x = torch.randn(7, C)
    torch.testing.assert_close(found.latents(x), autoencoder.encode(x), rtol=1e-5, atol=1e-5)
