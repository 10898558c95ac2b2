"""What starts the daemon: interrupted while it still imports, it ends as programs do, and says nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_ctrl_c_while_it_starts_prints_no_traceback() -> None:
    name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["provisionerd"]
    module, _, function = name.partition(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}())"  # what pip writes
    words = ("env", "--default-signal=INT", sys.executable, "-X", "importtime", "-c", code, "--example-config")
    pipe = subprocess.PIPE  # a small one: it waits for us to read what it imports, and cannot be through before we are
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, pipesize=4096) as daemon:
        assert daemon.stderr is not None
        assert any("asyncio" in line for line in daemon.stderr)
        daemon.send_signal(signal.SIGINT)
        out, err = daemon.communicate(timeout=20)
    assert (daemon.returncode, out) == (-signal.SIGINT, "")
    assert "Traceback" not in err
