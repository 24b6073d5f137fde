"""Files of concept directions, which `fvis concept` fits: vectors with what they are worth.

A file is .safetensors: one vector (C,) for each concept, and a `ConceptRecord` of each as JSON.
"""

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fvis.artifacts import write_bytes
from fvis.errors import RequestError, described
from fvis.models.base import Model
from fvis.record.unit import ConceptRecord
from fvis.typed_json import from_json, to_json

KEY = "fvis.concepts"  # of the file's metadata
SUFFIX = ".safetensors"

Concepts = dict[str, tuple[ConceptRecord, Tensor]]


def read_concepts(path: Path) -> Concepts | None:
    """The concepts in a file, by name; None for a file that is not of `fvis concept`.

    Raises `RequestError` for one that is damaged.
    """
    if path.suffix != SUFFIX:
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if KEY not in metadata:
                return None
            content = json.loads(metadata[KEY])
            records = {name: from_json(ConceptRecord, content[name]) for name in content}
            vectors = {name: file.get_tensor(name).float() for name in records}
    except Exception as error:  # what a damaged file makes of its reader is anybody's guess
        raise RequestError(
            f"{path} is not a readable file of concepts: {described(error)}"
        ) from None
    for name, (_, faults) in records.items():
        if faults:
            raise RequestError(f"{path}: concept {name} has no valid {', '.join(faults)}")
    return {name: (record, vectors[name]) for name, (record, _) in records.items()}


def write_concepts(path: Path, concepts: Concepts) -> None:
    """Write concepts by name, replacing the file."""
    records = {name: to_json(record) for name, (record, _) in concepts.items()}
    vectors = {name: vector.contiguous() for name, (_, vector) in concepts.items()}
    write_bytes(path, save(vectors, {KEY: json.dumps(records)}))


def refuse_elsewhere(concept: ConceptRecord, name: str, layer: str, model: Model) -> None:
    """Raise `RequestError` where a concept was fitted at another layer or in another network."""
    if concept.layer != layer:
        raise RequestError(f"concept {name} was fitted at {concept.layer}, not at {layer}")
    if concept.weights != model.sha256:
        raise RequestError(
            f"concept {name} was fitted in {concept.model} with other weights than {model.name} has"
        )
