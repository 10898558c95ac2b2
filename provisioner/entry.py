"""`provisionerd`: what is installed under this name, and as little as can be imported before Ctrl-C is seen to."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the daemon. Until it handles Ctrl-C itself it has nothing to tidy up: the signal ends it at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from provisioner.collector import importing

    with importing():
        from provisioner.daemon import main as daemon  # most of a start: half a second and more

    return daemon()


if __name__ == "__main__":
    sys.exit(main())
