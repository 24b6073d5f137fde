"""A hub that is silent is given up, one that answers with an error is not."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import URLError

import pytest
import timm
from huggingface_hub import constants

from fvis.errors import RequestError
from fvis.models import hub
from fvis.models.sources.timm import load
from fvis.schema import ModelConfig


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/weights.pth"


@contextmanager
def refusing_server() -> Iterator[str]:
    """A server that answers every request with an error."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/weights.pth"
        server.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.2)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")


def test_a_silent_server_does_not_answer_and_a_refusing_one_does() -> None:
    with silent_server() as url:
        assert not hub.answers(url)
    with refusing_server() as url:
        assert hub.answers(url)


def test_torch_hub_is_not_asked_where_the_server_is_silent(tmp_path: Path) -> None:
    with silent_server() as url:
        with pytest.raises(URLError), hub.torch_hub(url):
            pytest.fail("the file was to be fetched")
        cached = tmp_path / "hub" / "checkpoints" / "weights.pth"
        cached.parent.mkdir(parents=True)
        cached.touch()
        before = socket.getdefaulttimeout()
        with hub.torch_hub(url):
            assert socket.getdefaulttimeout() == hub.PATIENCE
        assert socket.getdefaulttimeout() == before


def test_a_silent_hugging_face_leaves_its_cache_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offline = []

    def create(*args: object, **kwargs: object) -> None:
        offline.append(constants.HF_HUB_OFFLINE)
        raise OSError("not in the cache")

    monkeypatch.setattr(timm, "create_model", create)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with silent_server() as url:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        with pytest.raises(RequestError, match=r"model\.checkpoint=FILE"):
            load(ModelConfig("timm", "resnet18"))
    assert offline == [True]
    assert constants.HF_HUB_OFFLINE is False
