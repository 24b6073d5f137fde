"""`python -m tests.benchmarks.worker`: measures one tool's cases in its own environment.

A `Job` comes in as JSON on stdin. What comes out on stdout are JSON lines: the environment, then
each case's measurements as soon as they are there.
"""

import importlib
import json
import platform
import random
import sys
import traceback
import warnings
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np
import torch

from .cases import Case, Job, Measurement, first_line


def main() -> None:
    """Serve one job; whatever the tool prints goes to stderr."""
    results, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    job = Job.from_json(json.load(sys.stdin))
    torch.set_num_threads(job.threads)
    device = find_device(job.device)

    def send(content: Any) -> None:
        results.write(json.dumps(content) + "\n")
        results.flush()

    try:
        tool = importlib.import_module(f".tools.{job.tool}", __package__)
    except ImportError as error:
        for case in job.cases:
            send([Measurement(job.tool, case, note=first_line(error)).to_json()])
        return
    send(environment(tool.DISTRIBUTION, device))
    for case in job.cases:
        send([result.to_json() for result in attempt(tool, job, case, device)])


def attempt(tool: ModuleType, job: Job, case: Case, device: torch.device) -> list[Measurement]:
    """The case's measurements, or a note of why there are none."""
    random.seed(0)  # the peers draw from the global streams
    np.random.seed(0)
    torch.manual_seed(0)
    try:
        measured: list[Measurement] = tool.measure(case, device, job.seconds)
    except Exception as error:  # one case's failure must not cost the others
        traceback.print_exc()
        return [Measurement(job.tool, case, note=first_line(error))]
    return measured


def find_device(name: str) -> torch.device:
    """The device called `name`; `auto` is cuda where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def environment(distribution: str, device: torch.device) -> dict[str, str]:
    """What the numbers depend on besides the tool."""
    where = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    return {
        "device": where,
        "python": platform.python_version(),
        **{name: version(name) for name in dict.fromkeys((distribution, "torch", "timm"))},
    }


if __name__ == "__main__":
    main()
