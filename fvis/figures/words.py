"""The texts that figures show about runs and units."""

from collections.abc import Sequence

from fvis.evidence.record import WORDS
from fvis.figures.runs import Run
from fvis.figures.sheet import three_digits
from fvis.record.unit import DEAD, UnitRecord


def by_model(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs grouped by network, in the order given."""
    networks: dict[str, list[Run]] = {}
    for run in runs:
        networks.setdefault(run.model, []).append(run)
    return networks


def short(label: int | str) -> str:
    """The first of a class's synonyms, or `unit N` for a class without a name.

    >>> short("cello, violoncello"), short(486)
    ('cello', 'unit 486')
    """
    return f"unit {label}" if isinstance(label, int) else label.partition(",")[0]


def unit_name(record: UnitRecord) -> str:
    """A unit's number, the name of its class if it has one, and `(dead)` or `(minimised)`.

    >>> unit_name(UnitRecord(unit=3, class_name="striped ring", status="ok"))
    'unit 3 striped ring'
    """
    words = [record.called, short(record.class_name or ""), _how(record)]
    return " ".join(filter(None, words))


def unit_lines(record: UnitRecord) -> list[str]:
    """The lines under a unit's picture: its number, its class if it has one, its activation.

    Where there is evidence, the last line has its word.
    """
    name = " ".join(filter(None, [record.called, _how(record)]))
    label = [short(record.class_name)] if record.class_name else []
    word = [record.evidence.word] if record.evidence else []
    return [name, *label, f"a {three_digits(record.activation.final)}", *word]


def _how(record: UnitRecord) -> str:
    if record.status == DEAD:
        return "(dead)"
    return "(minimised)" if record.sign == -1 else ""


def of_evidence(runs: Sequence[Run]) -> str:
    """What the words under pictures mean, where there are any."""
    records = [unit.record for run in runs for unit in run.units]
    if not any(record.evidence for record in records):
        return ""
    return f"{', '.join(WORDS)}: how far the evidence says to believe the picture."


def about(runs: Sequence[Run]) -> str:
    """The weights, seeds and steps of each network, which are needed to make the pictures again."""
    return "; ".join(_about(name, own) for name, own in by_model(runs).items()) + "."


def _about(name: str, runs: Sequence[Run]) -> str:
    seeds = sorted(
        {unit.record.seed for run in runs for unit in run.units if unit.record.seed is not None}
    )
    record = runs[0].record
    made = f"seed {' and '.join(map(str, seeds))}, {_steps(runs)}"
    if record.setting("method", "solver") == "factored":
        made += f", then {record.setting('method', 'steps')} for texture and motion"
    return f"{name} (weights {record.model.weights.sha256[:8]}): {made}"


def _steps(runs: Sequence[Run]) -> str:
    """The steps of the first layer, then of layers with another number: `160 steps, logits 480`."""
    layers: dict[int | None, list[str]] = {}
    for run in runs:
        layers.setdefault(run.units[0].record.steps, []).append(run.layer)
    first, *others = layers
    return ", ".join([f"{first} steps", *(f"{', '.join(layers[n])} {n}" for n in others)])
