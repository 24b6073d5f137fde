"""`python -m tests.benchmarks`: what a step costs, of fvis, of its bare limit and of its peers.

Prints one table, whose ratios are all measured in this run, and writes it as JSON if asked to.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .cases import BATCH, BATCHES, TOOLS, all_cases
from .driver import ROOT, Plan, measure
from .table import markdown


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print; progress goes to stderr."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="benchmarks: %(message)s")
    cases = all_cases(options.batch, options.batches, options.precision)
    plan = Plan(
        tools=tuple(options.tools),
        cases=tuple(case for case in cases if options.only in str(case)),
        device=options.device,
        seconds=options.seconds,
        threads=options.threads,
        peers=options.peers,
    )
    report = measure(plan)
    if options.json is not None:
        options.json.write_text(json.dumps(report.to_json(), indent=1) + "\n")
    sys.stdout.write(markdown(report, plan.cases) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="to spend on a case, or more (2)"
    )
    parser.add_argument("--batch", type=int, default=BATCH, help=f"rows of most cases ({BATCH})")
    parser.add_argument(
        "--batches", type=int, nargs="*", default=BATCHES, help="rows of one layer (1 4 16)"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS)
    parser.add_argument(
        "--only",
        default="",
        help="cases whose name holds this text: NETWORK/LAYER POSITION batch N PRECISION",
    )
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
