"""Pickled arrays are read as Python 2 and 3 wrote them; code in a pickle is refused, not run."""

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from fvis.errors import RequestError
from fvis.models.arrays import is_plain_pickle
from fvis.models.checkpoints import read_state
from tests.models.test_checkpoints import Trap

BLOBS = {
    "conv1_w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "lr": np.float32(0.1),
    "note": "text",
}


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2's strings, as its NumPy did with the numbers of an array."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def as_python_2(content: Any) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(content)
    return stream.getvalue().replace(b"numpy._core", b"numpy.core")


@pytest.mark.parametrize("write", [as_python_2, pickle.dumps])
def test_arrays_become_tensors(tmp_path: Path, write: Callable[[Any], bytes]) -> None:
    (tmp_path / "w.pkl").write_bytes(write({"blobs": BLOBS}))
    state = read_state(tmp_path / "w.pkl")
    assert state.keys() == {"conv1_w"}
    assert torch.equal(state["conv1_w"], torch.arange(6.0).view(2, 3))


def test_a_pickle_with_code_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"blobs": BLOBS, "x": Trap(tmp_path / "run")}))
    with pytest.raises(RequestError, match="could run code") as caught:
        read_state(tmp_path / "w.pkl")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kept", [0, 1, 40, -20])
def test_a_pickle_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"blobs": BLOBS})[:kept])
    with pytest.raises(RequestError, match=r"w\.pkl is not readable") as caught:
        read_state(tmp_path / "w.pkl")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("archive", [True, False])
def test_torchs_own_files_are_told_by_their_first_bytes(tmp_path: Path, archive: bool) -> None:
    path = tmp_path / "w.pkl"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=archive)
    assert not is_plain_pickle(path)
    assert torch.equal(read_state(path)["w"], torch.ones(2))
