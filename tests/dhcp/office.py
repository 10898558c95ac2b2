"""A network on which one DHCP server takes the place of another: real ones, and our daemon with its command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

from tests.dhcp.wires import Wires, run


class Office:
    """A bridge with clients, and one server after the other on it. `config` is ours, with `{folder}` in it."""

    def __init__(self, it: Wires, config: str) -> None:
        self.wires = it
        self._config = config
        self.folder = it.folder
        self.server: subprocess.Popen[str] | None = None

    def start(self, *words: str, until: str) -> None:
        """Start the other server; wait for the line that says that it serves."""
        env = {**os.environ, "KEA_PIDFILE_DIR": str(self.folder), "KEA_LOCKFILE_DIR": "none"}
        self.server = subprocess.Popen(
            self.wires.inside("server", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            cwd=self.folder,
        )
        self.wires.running.append(self.server)
        said = []
        assert self.server.stdout is not None
        for line in self.server.stdout:
            said.append(line)
            if re.search(until, line):
                return
        raise AssertionError("".join(said))

    def stop(self) -> None:
        assert self.server is not None
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(20)

    def ours(self) -> None:
        """Start our daemon."""
        config = self.folder / "provisioner.yaml"
        config.write_text(self._config.format(folder=self.folder))
        words = (sys.executable, "-m", "provisioner.daemon", "--config", str(config))
        self.start(*words, until=r"daemon\.ready")

    def ctl(self, *words: str) -> str:
        """Run provisionctl; what it printed."""
        command = (sys.executable, "-m", "provisioner.cli", "--socket", str(self.folder / "api.sock"), "dhcp", *words)
        return run(*command)

    def rows(self, *words: str) -> list[dict[str, str]]:
        command = (sys.executable, "-m", "provisioner.cli", "--socket", str(self.folder / "api.sock"), "dhcp", *words)
        done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, timeout=40, check=False)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, str]] = json.loads(done.stdout)
        return found
