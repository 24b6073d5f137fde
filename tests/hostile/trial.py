"""Runs hostile cases one after the other, judges each, and sums up what became of them."""

import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tests.hostile.case import OUT, RESUME, Case, Draft
from tests.hostile.child import Call, Ran, Runner
from tests.hostile.judge import (
    DONE,
    FAILED,
    FAULT,
    REFUSED,
    Verdict,
    judge,
    last_line,
    listing,
    look,
)

LABELS = (DONE, REFUSED, FAILED, FAULT)
LONGEST = 400  # characters of a case's words, and of its stderr, that are shown
RESUMED = Draft(("resume", OUT), "", leaves=RESUME, blames_user=False, chatty=True, several=True)


@dataclass(frozen=True)
class Result:
    """A case and what became of it."""

    case: Case
    ran: Ran
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """The result as JSON holds it."""
        return {
            "kind": self.case.kind,
            "case": self.case.number,
            "what": printable(self.case.draft.what),
            "arguments": [printable(word) for word in self.case.draft.arguments],
            "outcome": self.verdict.label,
            "reason": self.verdict.reason,
            "status": self.ran.status,
            "last_line": printable(last_line(self.ran)),
            "stderr": self.ran.stderr[:LONGEST],
            "peak": self.ran.peak,
            "seconds": round(self.ran.seconds, 3),
        }


def run_cases(cases: Iterable[Case], tell: Callable[[Result], None]) -> list[Result]:
    """Run and judge cases; `tell` gets each result as it comes."""
    torch.set_num_threads(1)
    runner, results = Runner(), []
    for case in cases:
        results.append(run_case(case, runner))
        tell(results[-1])
    return results


def run_case(case: Case, runner: Runner) -> Result:
    """Run one case in a temporary folder; a run that a fault has ended is then resumed."""
    with tempfile.TemporaryDirectory(prefix="fvis-hostile-", ignore_cleanup_errors=True) as base:
        folder = Path(base) / "trial" / "cwd"
        folder.mkdir(parents=True)
        with warnings.catch_warnings(action="ignore"):  # of the odd tensors that it makes
            case.draft.plant(folder)
        ran, verdict = _attempt(case.draft, folder, runner)
        if case.kind == "faults" and verdict.label == FAILED and _began(folder / OUT):
            again, second = _attempt(RESUMED, folder, runner)
            if second.label != DONE:
                ran = replace(again, stderr=ran.stderr + again.stderr)
                verdict = Verdict(FAULT, f"when resumed: {second.reason or second.label}")
        return Result(case, ran, verdict)


def _attempt(draft: Draft, folder: Path, runner: Runner) -> tuple[Ran, Verdict]:
    before = listing(folder.parent)
    home = folder.parent.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {"HOME": str(home), "PWD": str(folder), "COLUMNS": "100"}
    call = Call(draft.arguments, folder, environment, draft.file_size, draft.signal)
    ran = runner(call)
    return ran, judge(draft, ran, look(draft, ran, folder, before))


def _began(folder: Path) -> bool:
    """Whether there is a run or a sweep to resume."""
    if not folder.is_dir():
        return False
    return any(next(folder.rglob(name), None) for name in ("run.json", "sweep.json"))


def table(results: Sequence[Result]) -> str:
    """How many cases of each kind ended how."""
    kinds = list(dict.fromkeys(result.case.kind for result in results))
    counts = Counter((result.case.kind, result.verdict.label) for result in results)
    totals = Counter(result.verdict.label for result in results)
    rows: list[tuple[str, ...]] = [("kind", *LABELS)]
    rows += [(kind, *(str(counts[kind, label]) for label in LABELS)) for kind in kinds]
    rows.append(("all", *(str(totals[label]) for label in LABELS)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    )


def faults(results: Sequence[Result]) -> str:
    """Each fault: the case's kind and number, why, its words, and the last line on stderr."""
    return "\n".join(
        f"\n{result.case.kind} {result.case.number}: {printable(result.verdict.reason)}\n"
        f"  {printable(result.case.draft.what)}\n"
        f"  {printable(' '.join(result.case.draft.arguments))}\n"
        f"  {printable(last_line(result.ran))}"
        for result in results
        if result.verdict.label == FAULT
    )


def printable(text: str) -> str:
    """Text of any kind on one line of a terminal, shortened."""
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
