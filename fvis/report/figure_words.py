"""What figures say of runs and units, in words."""

from collections.abc import Mapping, Sequence

from fvis.report.figure_runs import Run, Unit
from fvis.report.figure_sheet import number


def by_model(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each network, in the order given."""
    networks: dict[str, list[Run]] = {}
    for run in runs:
        networks.setdefault(run.model, []).append(run)
    return networks


def short(label: int | str) -> str:
    """The first of a class's names; of a class without one `unit` and its number.

    >>> short("cello, violoncello"), short(486)
    ('cello', 'unit 486')
    """
    return f"unit {label}" if isinstance(label, int) else label.partition(",")[0]


def unit_name(unit: Unit) -> str:
    """`unit 3`, of a class with its name, of a dead unit with that word.

    >>> from pathlib import Path
    >>> unit_name(Unit(Path(), {"unit": 3, "class": "striped ring", "status": "ok"}))
    'unit 3 striped ring'
    """
    told = unit.metadata
    words = [f"unit {told['unit']}", short(told.get("class") or "")]
    words.append("(dead)" if told.get("status") == "dead" else "")
    return " ".join(filter(None, words))


def unit_lines(unit: Unit) -> list[str]:
    """A unit's number, its class where it has one, and its activation."""
    told = unit.metadata
    name = f"unit {told['unit']}" + (" (dead)" if told.get("status") == "dead" else "")
    label = [short(told["class"])] if told.get("class") else []
    return [name, *label, f"a {number(told['activation']['final'])}"]


def about(runs: Sequence[Run]) -> str:
    """Of each network its seeds, steps and weights: what it takes to make the pictures again."""
    return "; ".join(_about(name, own) for name, own in by_model(runs).items()) + "."


def _about(name: str, runs: Sequence[Run]) -> str:
    seeds = sorted({unit.metadata["seed"] for run in runs for unit in run.units})
    weights: Mapping[str, str] = runs[0].record["model"]["weights"]
    made = f"seed {' and '.join(map(str, seeds))}, {_steps(runs)}"
    method = runs[0].record["config"]["method"]
    if method.get("solver") == "factored":
        made += f", then {method['steps']} for texture and motion"
    return f"{name} (weights {weights['sha256'][:8]}): {made}"


def _steps(runs: Sequence[Run]) -> str:
    """The steps of the first layer and of those that took others: `160 steps, logits 480`."""
    layers: dict[int, list[str]] = {}
    for run in runs:
        layers.setdefault(run.units[0].metadata["steps"], []).append(run.layer)
    first, *others = layers
    return ", ".join([f"{first} steps", *(f"{', '.join(layers[n])} {n}" for n in others)])
