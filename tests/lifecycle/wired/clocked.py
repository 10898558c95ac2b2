"""The daemon, with a clock that can be moved on: `python -m tests.lifecycle.wired.clocked ARGUMENTS OF THE DAEMON`.

Seconds to move by come on standard input, one number a line. Nothing else differs: what waited for so long is over.
"""

from __future__ import annotations

import sys
import threading
import time

wall, steady = time.time, time.monotonic
ahead = 0.0


def move() -> None:
    global ahead  # noqa: PLW0603  this program's own clock
    for line in sys.stdin:
        ahead += float(line)


time.time = lambda: wall() + ahead
time.monotonic = lambda: steady() + ahead

if __name__ == "__main__":
    from provisioner import daemon

    threading.Thread(target=move, daemon=True).start()
    sys.exit(daemon.main(sys.argv[1:]))
