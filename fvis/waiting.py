"""How threads wait for one another, which has to be settled before torch is imported.

Spinning, they are ready at once. But where another process keeps a core busy, they keep it from the
very thread they wait for, and a step takes three times as long as with threads that sleep.
"""

import os
import time
from pathlib import Path

POLICY = "OMP_WAIT_POLICY"
LOAD = Path("/proc/loadavg")
LOOKS, APART = 5, 0.004  # how often, and how many seconds apart, others must be seen at work


def settle() -> None:
    """Let waiting threads sleep if other processes are at work, or where that cannot be known.

    Otherwise they spin, as is torch's way. The user's own setting counts more.
    """
    if _at_other_work():
        os.environ.setdefault(POLICY, "PASSIVE")


def _at_other_work() -> bool:
    """Whether other processes run at every look; true where the system does not tell."""
    for look in range(LOOKS):
        time.sleep(APART if look else 0)
        try:
            running, _, _ = LOAD.read_text(encoding="ascii").split()[3].partition("/")
            if int(running) <= 1:  # this one
                return False
        except (OSError, ValueError, IndexError):
            return True
    return True
