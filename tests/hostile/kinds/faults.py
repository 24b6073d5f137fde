"""A disk that is full, and signals at any moment: what is left must be whole and resumable."""

import random
import signal

from tests.hostile.case import BASE, Draft, Signal

SIZES = (
    0, 1, 100, 500, 1000, 2000, 3000, 4000, 6000, 10_000, 20_000, 40_000, 80_000, 200_000,
    1_000_000,
)  # fmt: skip
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WORK = (
    ("target.units=0:4", "engine.batch_size=1"),
    ("target.units=0:6", "engine.batch_size=2"),
    ("target.units=[0]",),
    ("method=adversarial", "method.images=zoo:glyphs", "method.target=3", "engine.batch_size=1"),
    ("target.units=[0]", "grounding.images=zoo:glyphs", "grounding.cache=cache"),
    ("model=drift_r3d", "target.units=[0]", "output.mp4=true"),
)
SWEEP = ("-m", "engine.seed=1,2", "hydra.sweep.dir=out")
LONGEST = 1.5  # seconds until a signal comes; a run takes about one


def make(rng: random.Random) -> Draft:
    """A run that is short of disk, or that somebody ends."""
    work = rng.choice(WORK)
    words = ("run", *BASE, f"engine.steps={rng.randint(1, 3)}", *work)
    if rng.random() < 0.4:
        size = int(rng.choice(SIZES) * rng.uniform(0.7, 1.3))
        what = f"no file above {size} bytes: {' '.join(work)}"
        return Draft(words, what, file_size=size, blames_user=False, chatty=True)
    again = round(rng.uniform(0, 0.3), 3) if rng.random() < 0.3 else None
    sent = Signal(rng.choice(SIGNALS), round(rng.uniform(0, LONGEST), 3), again)
    if rng.random() < 0.15:
        words = (*words, *SWEEP)
    twice = "" if again is None else f" and {again} s"
    what = f"{signal.Signals(sent.number).name} after {sent.seconds}{twice} s: {' '.join(work)}"
    return Draft(words, what, signal=sent, blames_user=False, chatty=True)
