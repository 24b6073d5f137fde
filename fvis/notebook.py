"""`fvis run` as a Python function, whose results display themselves in notebooks."""

import base64
import contextlib
import functools
import html
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from fvis import runner, schema
from fvis.artifacts import content
from fvis.compose import compose_sections
from fvis.context import own_threads, prepare
from fvis.errors import RequestError
from fvis.methods import Result
from fvis.models import Model, wrap
from fvis.plan import plan
from fvis.run_folder import write_unit

SHOWN = (
    "motif.png",
    "motif.gif",
    "image.png",
    "strip.png",
    "side_by_side.gif",
    "clip.gif",
)  # the first of these that a unit has
SCORED = ("image.png", "adversarial.png", "adversarial.apng", "clip.apng", "optimal.gif")
STYLE = "display:inline-block;margin:0 1em 1em 0;max-width:45em;vertical-align:top"


class Visualization:
    """One unit's pictures and numbers, displayed by a notebook.

    `metadata` is the content of the metadata.json that `fvis run` would write, and `files` the
    names of the files that it would write beside it.
    """

    def __init__(self, result: Result) -> None:
        self._result = result
        self.name = result.name
        self.metadata: dict[str, Any] = result.metadata
        self.files = sorted(result.files)

    def __repr__(self) -> str:
        activation = self.metadata["activation"]
        return f"<{self.name}: {activation['initial']:.4g} to {activation['final']:.4g}>"

    def read(self, name: str) -> bytes:
        """The content of a file such as `image.png`; raises `KeyError` if there is no such file."""
        if name not in self._result.files:
            raise KeyError(f"{self.name} has no {name!r}; it has {', '.join(self.files)}")
        return content(name, self._result.files[name])

    @property
    def shown(self) -> str:
        """The name of the file that is displayed for the unit."""
        found = next((name for name in SHOWN if name in self.files), None)
        if found is None:
            raise KeyError(f"{self.name} has none of {', '.join(SHOWN)} to show")
        return found

    @functools.cached_property
    def image(self) -> NDArray[np.uint8]:
        """The picture that `activation` is of as 8-bit RGB (H, W, 3), or the clip (T, H, W, 3).

        It is as large as the network's input, and of an attack the adversarial example: what is
        displayed may be a part of it, or have others beside it. Only the clips of texture_motion
        are GIFs of 256 colours here; their `flow.npz` has the exact ones.
        """
        name = next(name for name in SCORED if name in self.files)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(self.read(name))
            with Image.open(path) as image:
                frames = []
                for index in range(getattr(image, "n_frames", 1)):
                    image.seek(index)
                    frames.append(np.asarray(image.convert("RGB")))
        return frames[0] if name.endswith(".png") else np.stack(frames)

    def save(self, directory: str | Path) -> Path:
        """Write everything as `fvis run` would, into `directory`/<name>; returns that folder."""
        write_unit(Path(directory), self.name, self._result.record, self._result.files)
        return Path(directory) / self.name

    def _repr_png_(self) -> bytes | None:
        return self.read(self.shown) if self.shown.endswith(".png") else None

    def _repr_html_(self) -> str:
        kind = self.shown.rpartition(".")[2]
        source = base64.b64encode(self.read(self.shown)).decode()
        caption = html.escape(", ".join(map(str, self._caption())))
        return (
            f'<figure style="{STYLE}">'
            f'<img alt="{caption}" src="data:image/{kind};base64,{source}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )

    def _caption(self) -> Iterator[object]:
        yield self.name
        if self.metadata.get("class"):
            yield self.metadata["class"]
        if "success" in self.metadata:
            yield "success" if self.metadata["success"] else "no success"
        yield f"activation {self.metadata['activation']['final']:.4g}"
        if self.metadata["status"] != "ok":
            yield self.metadata["status"]
        if self.metadata.get("evidence"):
            yield self.metadata["evidence"]["word"]


class Visualizations(Sequence[Visualization]):
    """The pictures of several units, displayed side by side by a notebook."""

    def __init__(self, units: Sequence[Visualization]) -> None:
        self._units = list(units)

    @overload
    def __getitem__(self, index: int) -> Visualization: ...
    @overload
    def __getitem__(self, index: slice) -> "Visualizations": ...
    def __getitem__(self, index: int | slice) -> "Visualization | Visualizations":
        if isinstance(index, slice):
            return Visualizations(self._units[index])
        return self._units[index]

    def __len__(self) -> int:
        return len(self._units)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._units))

    def save(self, directory: str | Path) -> list[Path]:
        """Write every unit into a folder of its own in `directory`."""
        return [unit.save(directory) for unit in self._units]

    def _repr_html_(self) -> str:
        return "".join(unit._repr_html_() for unit in self._units)


@torch.inference_mode(False)
@torch.enable_grad()
def visualize(
    model: nn.Module | str | Mapping[str, Any],
    layer: str | nn.Module | Sequence[str | nn.Module] = "logits",
    units: Any = "all",
    method: str | Mapping[str, Any] = "activation_maximization",
    *,
    input: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    **settings: Any,
) -> Visualizations:
    """Visualize what units of a network respond to, as `fvis run` does, without writing files.

    Args:
        model: a `torch.nn.Module` of your own, `source/name` such as `timm/resnet50`, or a mapping
            of the config's `model` settings. Your own module runs on the device that it is on, and
            is left unchanged.
        layer: a dotted module path, `logits`, a glob such as `blocks.*`, `stages`, a module of
            your own network, or a list of these.
        units: what `target.units` takes, or a range, array or tensor of indices; for several layers
            also a mapping from each layer to its units.
        method: a method's name, or a mapping of its settings that includes `name`.
        input: for a module of your own: a mapping with any of height, width, mean, std and frames;
            mean and std are for pixels in [0, 1]. The libraries' models declare these themselves.
        classes: for a module of your own: the names of its classes.
        settings: other sections of the config, each by a choice's name or a mapping, such as
            `engine={"steps": 64}`, `transforms="maximal"` or `target={"position": "center"}`.

    Raises `RequestError` for whatever `fvis run` refuses.

    >>> first, *_ = visualize("zoo/glyph_cnn", units=[3], engine={"steps": 8})  # doctest: +SKIP
    """
    if "execution" in settings:
        raise RequestError("visualize() works in this process alone, and takes no execution")
    target = dict(_mapping(settings.pop("target", {}), "target"))
    for name in ("direction", "dictionary"):
        if hasattr(target.get(name), "tolist"):
            raise RequestError(f"target.{name} takes the name of a file: numpy.save writes one")
    if isinstance(model, nn.Module):
        layer = _paths_of(layer, model)
    for name, given, usual in (("layer", layer, "logits"), ("units", units, "all")):
        if name in target and not (isinstance(given, str) and given == usual):
            raise RequestError(f"visualize() is given {name} twice: by itself, and in target")
        target.setdefault(name, given)
    sections = {"method": method, "target": target, **settings}
    if isinstance(model, nn.Module):
        device = next((str(p.device) for p in model.parameters()), "cpu")
        sections["engine"] = {"device": device, **_mapping(sections.get("engine", {}), "engine")}
    elif input is not None or classes is not None:
        raise RequestError("visualize() takes input and classes only for a network of your own")
    else:
        (found,) = schema.parse_models([_plain(model)], "model")
        sections["model"] = vars(found) | {"input": vars(found.input)}
    plain = {
        key: value if isinstance(value, str) else _mapping(value, key)
        for key, value in _plain(sections).items()
    }
    config = schema.parse(compose_sections(plain))
    if not isinstance(model, nn.Module):
        return _solve(config)
    given = wrap(model, _plain(_mapping({} if input is None else input, "input")), classes)
    with _left_in_place(model):
        return _solve(config, given)


def _paths_of(layer: Any, network: nn.Module) -> Any:
    """The layers that are asked for, each module of the network by its path."""
    if isinstance(layer, nn.Module):
        found = next((path for path, module in network.named_modules() if module is layer), "")
        if not found:
            raise RequestError(f"the {type(layer).__name__} given is no layer of the network")
        return found
    return [_paths_of(one, network) for one in layer] if isinstance(layer, list | tuple) else layer


@own_threads()
def _solve(config: schema.Config, model: Model | None = None) -> Visualizations:
    context = prepare(config, model)
    results = runner.solve(plan(context), context.config, context.device)
    return Visualizations([Visualization(result) for result in results])


@contextlib.contextmanager
def _left_in_place(module: nn.Module) -> Iterator[None]:
    """A context that puts the network's tensors back as they were when it ends.

    They are the same objects with the same memory, and thus the same device and layout, even after
    `Module.to`, which replaces them. Buffers have the same numbers, even where passes change them.
    """
    stores: list[dict[str, Any]] = [
        store
        for part in module.modules()
        for store in (part._parameters, part._buffers)
        if isinstance(store, dict)  # a traced module's are torch's own
    ]
    entries = [(store, dict(store)) for store in stores]
    numbers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    tensors = [*module.parameters(), *module.buffers()]
    tensors += [p.grad for p in module.parameters() if p.grad is not None]
    memory = [(tensor, tensor.data) for tensor in tensors]
    try:
        yield
    finally:
        for tensor, data in memory:
            tensor.data = data
        for store, content in entries:
            store.update(content)
        with torch.no_grad():
            for buffer, before in numbers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def _plain(value: Any) -> Any:
    """`value` in types that a config can hold: arrays, ranges, sets as lists; paths as text."""
    if hasattr(value, "tolist"):  # numbers and arrays of NumPy and PyTorch
        return value.tolist()
    if isinstance(value, os.PathLike | torch.device):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | type):
        return [_plain(entry) for entry in value]
    return value


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        kind = type(value).__name__
        meant = [f'{section}={{"{name}": {value!r}}}' for section in schema.sections_with(name)]
        hint = f"; it may be {' or '.join(meant)}" if meant else ""
        raise RequestError(f"visualize() takes {name} as a mapping of settings, not {kind}{hint}")
    return value
