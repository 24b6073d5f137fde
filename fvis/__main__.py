"""`fvis` and `python -m fvis`: the command line, interruptible from the first moment."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Import the command line and hand over; a Ctrl-C while it is imported is one line too."""
    try:
        from fvis.cli import main as command_line
    except KeyboardInterrupt:
        sys.stderr.write("fvis: interrupted\n")
        sys.exit(1)
    command_line()


if __name__ == "__main__":
    main()
