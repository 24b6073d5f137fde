"""Patience with the servers that weights are fetched from: one that is silent is given up soon."""

import contextlib
import socket
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch

PATIENCE = 10.0  # seconds


def answers(url: str) -> bool:
    """Whether the server of a URL answers within `PATIENCE` seconds, be it with an error.

    A thread asks, because looking a name up, and trying one address after the other, keep to no
    limit of their own.
    """
    replies: list[bool] = []

    def ask() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=PATIENCE).close()
            replies.append(True)
        except HTTPError:
            replies.append(True)
        except (OSError, HTTPException, ValueError):
            replies.append(False)

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return replies == [True]


def hugging_face_answers() -> bool:
    """Whether the Hugging Face hub, or the mirror in `HF_ENDPOINT`, may be asked and answers.

    Its own client would try for minutes.
    """
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and answers(constants.ENDPOINT)


@contextlib.contextmanager
def torch_hub(url: str) -> Iterator[None]:
    """A context in which `torch.hub` may fetch the file at a URL, unless it is in its cache.

    Raises `URLError` if the server does not answer, and makes one that falls silent later fail.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not cached.is_file() and not answers(url):
        raise URLError("no answer")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
