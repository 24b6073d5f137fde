"""`python -m tests.hostile`: hostile cases against the command line, and a table of outcomes."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.hostile.cases import KINDS, case, cases
from tests.hostile.judge import FAULT
from tests.hostile.trial import Result, faults, run_cases, table

EVERY = 50  # cases between two lines of progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases asked for; exit status 1 where one of them is a fault."""
    options = _parser().parse_args(arguments)
    kinds = [options.only] if options.only else list(KINDS)
    if options.case is not None:
        if options.only is None:
            _parser().error("--case needs --only KIND")
        asked = iter([case(options.only, options.case, options.seed)])
    else:
        asked = cases(kinds, options.cases, options.seed)
    results = run_cases(asked, _teller())
    if options.json is not None:
        content = [result.to_json() for result in results]
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    sys.stdout.write(table(results) + "\n" + faults(results) + "\n")
    return int(any(result.verdict.label == FAULT for result in results))


def _teller() -> Callable[[Result], None]:
    """What says now and then how far the trial has come, and of each fault as it comes."""
    told: list[Result] = []

    def tell(result: Result) -> None:
        told.append(result)
        if result.verdict.label == FAULT:
            sys.stderr.write(faults([result]) + "\n")
        if len(told) % EVERY == 0:
            found = sum(each.verdict.label == FAULT for each in told)
            sys.stderr.write(f"hostile: {len(told)} cases, {found} faults\n")

    return tell


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--cases", type=int, default=600, help="how many, of all kinds in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(KINDS), help="one kind alone")
    parser.add_argument("--case", type=int, help="with --only: this case alone, to repeat it")
    parser.add_argument("--json", type=Path, help="also write all results to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
