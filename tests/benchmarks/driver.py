"""Sends cases to each tool's worker process and gathers what comes back, whatever ends a worker."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cases import FVIS, Case, Job, Measurement, is_compared

ROOT = Path(__file__).parents[2]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How everything is measured; `peers` is the Python of the environment that has the peers."""

    tools: tuple[str, ...]
    cases: tuple[Case, ...]
    device: str
    seconds: float
    threads: int
    peers: Path


@dataclass
class Report:
    """All that was measured, and where: an environment per tool."""

    measurements: list[Measurement] = field(default_factory=list)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)

    def find(self, tool: str, case: Case) -> Measurement | None:
        """What a tool needed for a case."""
        found = (m for m in self.measurements if (m.tool, m.case) == (tool, case))
        return next(found, None)

    def ratio(self, tool: str, other: str, case: Case) -> float | None:
        """The median step of one tool over that of another."""
        one, two = self.find(tool, case), self.find(other, case)
        if one is None or two is None or one.seconds is None or two.seconds is None:
            return None
        return one.seconds / two.seconds

    def to_json(self) -> dict[str, Any]:
        """As a dict that `from_json` reads back."""
        return {
            "environments": self.environments,
            "measurements": [
                {**m.to_json(), "times_fvis": self.ratio(m.tool, FVIS, m.case)}
                for m in self.measurements
            ],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Report":
        """A report from `to_json`'s dict."""
        measurements = [Measurement.from_json(entry) for entry in content["measurements"]]
        return cls(measurements, content["environments"])


def measure(plan: Plan) -> Report:
    """Measure every case with every tool; a tool that fails leaves notes, never a gap.

    Peers measure those cases alone in which they are compared.
    """
    report = Report()
    for tool in plan.tools:
        python = Path(sys.executable) if tool == FVIS else plan.peers
        waiting = [case for case in plan.cases if tool == FVIS or is_compared(case)]
        if not python.exists():
            note = f"not measured: there is no {python}"
            report.measurements += [Measurement(tool, case, note=note) for case in waiting]
            continue
        while waiting:
            waiting = _run_worker(python, plan, tool, waiting, report)
    return report


def _run_worker(
    python: Path, plan: Plan, tool: str, cases: Sequence[Case], report: Report
) -> list[Case]:
    """Measure `cases` till the worker ends; notes the one it died of, returns those after it."""
    job = Job(tool, tuple(cases), plan.device, plan.seconds, plan.threads)
    waiting = list(cases)
    with _started(python, job) as worker:
        for content in _lines(worker):
            if isinstance(content, dict):
                report.environments[tool] = content
                continue
            report.measurements += [Measurement.from_json(entry) for entry in content]
            logger.info("%-12s %s", tool, waiting.pop(0))
        status = worker.wait()
    if waiting:
        note = f"the process ended with status {status}"
        report.measurements += [Measurement(tool, waiting[0], note=note)]
        logger.warning("%s %s: %s", tool, waiting[0], note)
    return waiting[1:]


def _started(python: Path, job: Job) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads), "TQDM_DISABLE": "1"}
    if job.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""  # Lucent takes a GPU wherever it sees one
    worker = subprocess.Popen(
        [str(python), "-m", f"{__package__}.worker"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    try:
        worker.stdin.write(json.dumps(job.to_json()))
        worker.stdin.close()
    except BrokenPipeError:
        pass  # it has ended already; its status says how
    return worker


def _lines(worker: subprocess.Popen[str]) -> Iterator[Any]:
    assert worker.stdout is not None
    for line in worker.stdout:
        yield json.loads(line)
