"""`python -m tests.families [NAME...]`: the table of all families, or of those named."""

import sys
import warnings

from .networks import NETWORKS
from .trial import row, tried


def main(words: list[str]) -> None:
    warnings.filterwarnings("ignore")  # of timm, about names that it keeps for older code
    print(
        "| network | layers with units | early | middle | output |",
        "|---|---|---|---|---|",
        sep="\n",
    )
    for network in NETWORKS:
        if not words or any(word in network.name for word in words):
            print(row(tried(network)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
