"""VideoGPT's VQ-VAE encoder has the published sizes and reads the published checkpoint's layout."""

import argparse
from pathlib import Path

import pytest
import torch

from fvis.models import load
from fvis.models.layers import survey
from fvis.models.papers.videogpt import AxialAttention, SameConv3d, VQVAEEncoder
from fvis.schema import ModelConfig

SMALL = {"n_hiddens": 8, "n_res_layers": 1, "embedding_dim": 6}


def config(**settings: object) -> ModelConfig:
    return ModelConfig(
        **{"source": "papers", "name": "videogpt_vqvae", "pretrained": False, **settings}
    )


def test_parameters_follow_from_the_published_hyperparameters() -> None:
    h, half, blocks, codes = 240, 120, 4, 256
    attention = 4 * h * h + h
    block = 2 * (h + half + h) + 27 * h * half + half * h + 3 * attention
    encoder = (64 * 3 * h + h) + (64 * h * h + h) + (27 * h * h + h) + blocks * block + 2 * h
    with torch.device("meta"):
        network = VQVAEEncoder()
    counts = [
        sum(parameter.numel() for parameter in part.parameters())
        for part in (network.encoder, network.pre_vq_conv)
    ]
    assert counts == [encoder, h * codes + codes] == [11_286_960, 61_696]


def test_layers_have_the_published_shapes() -> None:
    model = load(config())
    assert model.preprocessing.shape == (3, 16, 128, 128)
    layers = survey(model)
    shapes = {
        "encoder.convs.0": (240, 8, 64, 64),
        "encoder.convs.1": (240, 4, 32, 32),
        "encoder.res_stack.3.block.2": (120, 4, 32, 32),
        "encoder.res_stack.3.block.5": (240, 4, 32, 32),
        "encoder.res_stack.3.block.8": (240, 4, 32, 32),
        "logits": (256, 4, 32, 32),
    }
    for path, shape in shapes.items():
        assert layers[path].shape[1:] == shape
        assert layers[path].axes == "BCTHW"


@pytest.mark.parametrize(
    ("downsample", "size"), [((2, 4, 4), (8, 4, 4)), ((4, 2, 2), (4, 8, 8)), ((4, 4, 4), (4, 4, 4))]
)
def test_each_axis_is_downsampled_by_its_factor(
    downsample: tuple[int, ...], size: tuple[int, ...]
) -> None:
    network = VQVAEEncoder(**SMALL, downsample=downsample)
    with torch.no_grad():
        assert network(torch.rand(1, 3, 16, 16, 16)).shape == (1, 6, *size)


def test_odd_padding_is_larger_before_the_first_position() -> None:
    conv = SameConv3d(1, 1, 4, (1, 2, 2), bias=False)
    with torch.no_grad():
        conv.conv.weight.zero_()
        conv.conv.weight[0, 0, 2, 1, 1] = 1  # where two positions precede it, the input itself
        clip = torch.rand(1, 1, 5, 6, 6)
        torch.testing.assert_close(conv(clip), clip[..., ::2, ::2])


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_attention_mixes_each_line_by_itself(axis: int) -> None:
    attention = AxialAttention(4, axis)
    features = torch.rand(1, 3, 4, 5, 4)
    with torch.no_grad():
        mixed = attention(features).movedim(axis, 3)[0, 1, 2]
        line = features.movedim(axis, 3)[0, 1, 2]
        heads = []
        for channels in (slice(0, 2), slice(2, 4)):
            q, k, v = (
                w(line)[:, channels] for w in (attention.w_qs, attention.w_ks, attention.w_vs)
            )
            heads.append((q @ k.T / 2**0.5).softmax(1) @ v)
        torch.testing.assert_close(mixed, attention.fc(torch.cat(heads, 1)))


def test_lightnings_checkpoint_of_the_whole_vqvae_gives_the_encoder(tmp_path: Path) -> None:
    drawn = load(config(kwargs=SMALL), 3).module.state_dict()
    beside = {
        "decoder.res_stack.0.block.0.weight": torch.ones(8),
        "post_vq_conv.conv.bias": torch.ones(8),
        "codebook.embeddings": torch.ones(16, 6),
        "codebook.N": torch.ones(16),
    }
    content = {
        "epoch": 3,
        "pytorch-lightning_version": "1.3.3",
        "state_dict": {**beside, **drawn},
        "hparams_name": "args",
        "hyper_parameters": {"args": argparse.Namespace(n_hiddens=8, downsample=(4, 4, 4))},
    }
    file = tmp_path / "ucf101_stride4x4x4"
    torch.save(content, file)
    read = load(config(pretrained=True, checkpoint=str(file), kwargs=SMALL), 4).module.state_dict()
    torch.testing.assert_close(dict(read), dict(drawn), rtol=0, atol=0)
    assert "encoder.res_stack.0.block.8.attn_t.w_qs.weight" in read
    assert "encoder.convs.1.conv.weight" in read
    assert "pre_vq_conv.conv.bias" in read
