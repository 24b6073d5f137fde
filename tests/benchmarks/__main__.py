"""`python -m tests.benchmarks`: measures fvis, its bare limit and its peers, and prints a table."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .cases import BATCHES, TOOLS, all_cases
from .driver import ROOT, Plan, measure
from .table import markdown

QUICK_BATCHES = (1, 8)
QUICK_SECONDS = 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print; progress goes to stderr."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="benchmarks: %(message)s")
    batches = options.batches or (QUICK_BATCHES if options.quick else BATCHES)
    cases = [c for c in all_cases(batches) if options.only in f"{c.network}/{c.layer}"]
    plan = Plan(
        tools=tuple(options.tools),
        cases=tuple(cases),
        device=options.device,
        seconds=options.seconds or (QUICK_SECONDS if options.quick else 4.0),
        threads=options.threads,
        peers=options.peers,
    )
    report = measure(plan)
    if options.json is not None:
        options.json.write_text(json.dumps(report.to_json(), indent=1) + "\n")
    sys.stdout.write(markdown(report, plan.cases, plan.tools) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--quick", action="store_true", help="batches 1 and 8, one second a cell")
    parser.add_argument("--seconds", type=float, help="to spend on a cell, if its steps allow (4)")
    parser.add_argument("--batches", type=int, nargs="+", help="batch sizes (1 8 32)")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS)
    parser.add_argument("--only", default="", help="cases whose network/layer holds this text")
    parser.add_argument("--threads", type=int, default=_cores(), help="CPU threads (all)")
    parser.add_argument(
        "--peers",
        type=Path,
        default=ROOT / ".venv-peers/bin/python",
        help="the Python of an environment made from peers-requirements.txt",
    )
    parser.add_argument("--json", type=Path, help="also write all measurements to this file")
    return parser


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main()
