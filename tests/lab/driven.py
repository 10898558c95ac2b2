"""A rack with its daemon, driven as a user does: by provisionctl."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioner.boot.loaders import find_loaders
from provisioner.boot.packages import fetch, fetched
from provisioner.cli.client import Client
from provisioner.lab import process, rack
from provisioner.lab.daemon import record_of
from provisioner.lab.spec import RackSpec, state_of
from tests.lab.racks import held

ROOT = Path(__file__).parents[2]
CONTROL = str(Path(sys.executable).with_name("provisionctl"))
KEPT = ROOT / ".lab"
"""What is built is kept here, as by scripts/lab."""
IMAGES = KEPT / "provisioner" / "images"
QUICK = KEPT / "provisioner" / "quick"
"""Where the discovery system with the kernel for clouds is kept, beside the one of scripts/lab."""
BUILD_S, UP_S, CALL_S = 2400.0, 600.0, 60.0
"""A build waits for those of other tests: all are kept in one place. Each limit only ends what hangs: what it bounds
has limits of its own, which say what was missing."""
_current: set[tuple[str, ...]] = set()
"""What this process has built, or seen to be current: apt takes 3 s of processor time for a second look."""


@dataclass(frozen=True)
class Driven:
    """The rack of this name."""

    name: str

    @property
    def environment(self) -> dict[str, str]:
        """Where provisionctl finds the rack's daemon."""
        return os.environ | {"XDG_CACHE_HOME": str(KEPT), "PROVISIONER_SOCKET": str(state_of(self.name) / "api.sock")}

    @property
    def spec(self) -> RackSpec:
        return rack.find(state_of(self.name))

    @property
    def api(self) -> Client:
        """Its daemon's."""
        return Client(str(state_of(self.name) / "api.sock"))

    def run(self, *arguments: str, limit_s: float = CALL_S, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run provisionctl; all that it said."""
        command = [CONTROL, *arguments]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=limit_s, check=False, cwd=ROOT
        )
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def control(self, *arguments: str, limit_s: float = CALL_S) -> str:
        """Run provisionctl; what it said on stdout."""
        return self.run(*arguments, limit_s=limit_s).stdout

    @contextlib.contextmanager
    def beside(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that waits for machines, while the test does something else."""
        with subprocess.Popen(
            [CONTROL, *arguments, "--wait"],
            env=self.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as child:  # fmt: skip
            try:
                yield child
            finally:
                child.kill()

    def up(self, *options: str) -> None:
        self.control("lab", "up", "--name", self.name, *options, limit_s=UP_S)

    def down(self) -> None:
        self.control("lab", "down", "--name", self.name, limit_s=UP_S)

    def kill_daemon(self) -> None:
        """As the kernel does when memory runs out; then start it again."""
        running = process.recall(record_of(self.spec.state))
        assert running is not None
        process.end(running, signal.SIGKILL)
        self.up()

    def machine(self, name: str) -> dict[str, Any]:
        """What the API says of a machine, though it has to wait for a disk that is busy."""
        found: dict[str, Any] = self.api.get(f"/v1/machines/{name}", slow=True)
        return found

    def trace(self, name: str, *options: str) -> list[dict[str, Any]]:
        """The lines of a machine's trace."""
        said = json.loads(self.control("trace", name, *options, "-o", "json"))
        lines: list[dict[str, Any]] = said if isinstance(said, list) else said["lines"]
        return lines

    def discovery(self, arch: str = "") -> dict[str, Path]:
        """Give the daemon a discovery system that starts in half the time: its kernel knows no BMC."""
        return self.store("discovery", "--kernel", "cloud", arch=arch, kept=QUICK)

    def store(
        self, bootenv: str, *options: str, arch: str = "", build: str = "", kept: Path = IMAGES
    ) -> dict[str, Path]:
        """Build what a bootenv needs, unless it is current, and give it to the daemon; where it lies, by name."""
        given = ("--folder", str(kept), *(("--arch", arch) if arch else ()))
        if (words := (build or bootenv, *options, *given)) not in _current:
            self.control("images", "build", *words, limit_s=BUILD_S)
            _current.add(words)
        folder = kept / (f"{bootenv}-{arch}" if arch else build or bootenv)
        built: dict[str, Path] = {}
        for item in json.loads((folder / "manifest.json").read_text())["artifacts"]:
            where = "/".join(filter(None, (bootenv, arch, item["name"])))
            built[item["name"]] = folder / item["path"]
            self.control("artifacts", "import", where, str(built[item["name"]]), "--sha256", item["sha256"])
        return built

    def loaders(self, *architectures: str) -> None:
        """Give the daemon the loaders of Debian's packages, which are fetched once."""
        packages = KEPT / "provisioner" / "loader-packages"
        for arch in architectures:
            if not (packages / arch).exists():
                fetch(arch, packages)
        for loader in find_loaders(fetched=fetched(packages)):
            shutil.copyfile(loader.path, self.spec.loaders / loader.name)
        self.control("loaders", "install")


@contextlib.contextmanager
def driven(name: str, *options: str) -> Iterator[Driven]:
    """Bring a rack up with these options of `lab up`; it is gone afterwards, whatever happened.

    What a run of tests that was killed has left of it is gone before.
    """
    found = Driven(name)
    with held(name):
        found.down()
        try:
            found.up(*options)
            yield found
        finally:
            found.down()
