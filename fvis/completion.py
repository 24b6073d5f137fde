"""Tab completion: what a shell offers beyond what Hydra knows, and two shells' scripts.

Hydra completes groups and settings. Completed here are the names of models, the layers of the model
that the line names, and experiments in folders.
"""

import dataclasses
from collections.abc import Sequence

from fvis import compose, schema

SCRIPTS = {  # those of Hydra serve bash; zsh does not take it, and fish's names python as well
    "zsh": """\
_fvis() {
  local -a found
  found=(${(f)"$(COMP_LINE="${words[1,CURRENT]}" fvis -sc query=zsh 2>/dev/null)"})
  compadd -Q -S '' -a found
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u; }
compdef _fvis fvis
""",
    "fish": """\
function __fvis_complete
    set -lx COMP_LINE (commandline -cp)
    fvis -sc query=fish 2>/dev/null
end
complete -c fvis -x -a '(__fvis_complete)'
""",
}


def offered(line: str) -> list[str] | None:
    """What the last word of a line of overrides may become; None where Hydra is to be asked.

    Raises what composing the line or building its model raises.

    >>> offered("method=adversarial engine.st") is None
    True
    """
    words = line.split()
    if not words or line.endswith(" "):
        return None
    setting, equals, begun = words[-1].partition("=")
    known = KNOWN.get(setting) if equals else None
    if known is None:
        return None
    others = [word for word in words[:-1] if "=" in word]
    return sorted(f"{setting}={name}" for name in known(others) if name.startswith(begun))


def _experiments(overrides: Sequence[str]) -> list[str]:
    return compose.choices("experiment")


def _models(overrides: Sequence[str]) -> list[str]:
    """The names that the line's model source knows."""
    source = compose.compose(overrides).model.source
    from fvis.models.sources.base import CATALOGUES

    return CATALOGUES[source]() if source in CATALOGUES else []


def _layers(overrides: Sequence[str]) -> list[str]:
    """The layers with units of the line's model, at random weights, and what stands for several."""
    config = schema.parse(compose.compose(overrides))
    from fvis import models
    from fvis.models.layers import survey

    plain = dataclasses.replace(config.model, pretrained=False, checkpoint=None)
    layers = survey(models.load(plain), config.target.output).values()
    return [*(layer.path for layer in layers if layer.units), "stages"]


KNOWN = {
    "experiment": _experiments,
    "+experiment": _experiments,
    "model.name": _models,
    "target.layer": _layers,
}
