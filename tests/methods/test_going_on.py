"""Methods that work on photographs go on from a saved state to the same bytes."""

import copy
from pathlib import Path
from typing import Any

import pytest

from fvis import runner, schema
from fvis.compose import compose
from fvis.methods import Result
from fvis.optimization import Optimization, RunStage, run_stage
from fvis.plan import plan

GLYPH = "zoo:glyphs/03-striped-disc.png"
ASKED = {
    "accentuation": (f"parametrization.start={GLYPH}", "target.units=5"),
    "inversion": (f"method.images={GLYPH}",),
}


def solved(method: str, run: RunStage) -> list[Result]:
    words = (f"method={method}", "target.layer=layer2", "engine.device=cpu", "engine.steps=6")
    config = schema.parse(compose([*words, *ASKED[method]]))
    (made,) = plan(runner.prepare(config)).methods
    return made.solve([job for group in made.groups for job in group], run)


@pytest.mark.parametrize("method", sorted(ASKED))
def test_an_interrupted_picture_is_the_same_to_the_byte(method: str, tmp_path: Path) -> None:
    saved: list[dict[str, Any]] = []

    def interrupted(stage: str, optimization: Optimization) -> None:
        for _ in range(4):
            optimization.step()
        saved.append(copy.deepcopy(optimization.state_dict()))
        raise KeyboardInterrupt

    def resumed(stage: str, optimization: Optimization) -> None:
        optimization.load_state_dict(saved[0])
        assert optimization.done == 4
        optimization.run()

    with pytest.raises(KeyboardInterrupt):
        solved(method, interrupted)
    for number, run in enumerate((run_stage, resumed)):
        (result,) = solved(method, run)
        result.files["image.png"](tmp_path / f"{number}.png")
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()
