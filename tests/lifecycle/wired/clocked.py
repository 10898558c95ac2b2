"""A clock that can be moved on, for the daemon and for its world; importing this sets a program's clock by it.

`python -m tests.lifecycle.wired.clocked ARGUMENTS OF THE DAEMON` is the daemon with such a clock: seconds to move by
come on standard input, one number a line. Nothing else differs: what waited for so long is over.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

wall, steady = time.time, time.monotonic
ahead = 0.0


def move(seconds: float) -> None:
    """Let time pass."""
    global ahead  # noqa: PLW0603  this program's own clock
    ahead += seconds


time.time = lambda: wall() + ahead
time.monotonic = lambda: steady() + ahead


def listen() -> None:
    """Move on as standard input says. The loop sleeps by the kernel's clock: a signal has it look at ours."""
    for line in sys.stdin:
        move(float(line))
        os.kill(os.getpid(), signal.SIGUSR1)


def woken(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the loop has been woken by now."""


if __name__ == "__main__":
    from provisioner import daemon

    signal.signal(signal.SIGUSR1, woken)
    threading.Thread(target=listen, daemon=True).start()
    sys.exit(daemon.main(sys.argv[1:]))
