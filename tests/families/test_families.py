"""Networks of all families at random weights: each unit is climbed, or refused in one clear line.

A sample runs with the fast tests, more with the slow ones; `python -m tests.families` has all.
"""

import pytest

from .networks import NETWORKS, Network
from .trial import tried

FAST = ("lcnet_035", "mobilenetv2_035", "squeezenet1_1")
SLOW = (
    "convnext_atto", "deeplabv3_mobilenet_v3_large", "efficientvit_b0", "gmlp_s16_224",
    "levit_128s", "repvgg_a0", "ssdlite320_mobilenet_v3_large", "swin_v2_t", "vit_b_32",
    "xcit_nano_12_p16_224",
)  # fmt: skip


def sample(names: tuple[str, ...]) -> list[Network]:
    found = {network.name: network for network in NETWORKS}
    return [found[name] for name in names]


def assert_clear(network: Network) -> None:
    report = tried(network)
    assert report.with_units > 10
    for outcome in report.outcomes:
        assert outcome.status in ("ok", "rescued", "refused", "dead")
        if outcome.status in ("refused", "dead"):
            assert outcome.reason is not None
            assert "\n" not in outcome.reason and len(outcome.reason) < 400
    assert "ok" in {outcome.status for outcome in report.outcomes}


def test_there_are_forty_families() -> None:
    assert len({(network.source, network.name) for network in NETWORKS}) == len(NETWORKS) >= 40


@pytest.mark.parametrize("network", sample(FAST), ids=FAST)
def test_a_small_network(network: Network) -> None:
    assert_clear(network)


@pytest.mark.slow
@pytest.mark.parametrize("network", sample(SLOW), ids=SLOW)
def test_a_network_found_wanting(network: Network) -> None:
    assert_clear(network)
