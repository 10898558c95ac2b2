"""A rack of its own for tests that boot real firmware: up, driven from inside its namespace, down."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from provisioner.lab import control, namespace, process, rack
from provisioner.lab.spec import GATEWAY, USERNAME, RackSpec

QUIET = 0.1
SOON_S = 60.0
"""What takes part of a second, on a computer that stands still for a while."""
BOOT_S = 1000.0
"""What firmware takes part of a minute for, on a computer that has much else to do."""
TURN_S = 3600.0
"""Until those who have a rack of the same name are done with their tests."""


def ignore(_: str) -> None:
    """Progress that nobody reads."""


@contextlib.contextmanager
def held(name: str) -> Iterator[None]:
    """Have the rack of this name for us: another run of tests on this computer has one of the same name.

    The lock goes with the process: what a run that was killed has left is nobody's.
    """
    path = Path(f"/run/lock/{name}")
    with path.open("w") as lock:

        def is_ours() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        assert process.wait_until(is_ours, TURN_S, tick_s=1.0), f"{path}: locked by another process for {TURN_S:.0f} s"
        yield


@contextlib.contextmanager
def rack_of(name: str, root: Path, machines: int = 3) -> Iterator[RackSpec]:
    """A rack that is gone afterwards, whatever happened; as is before what a run that was killed has left of it."""
    with held(name):
        if not namespace.processes(name):
            namespace.remove(name)
        try:
            yield rack.up(name, root / name, machines, ignore)
        finally:
            rack.down(name, root / name, ignore)


def inside(spec: RackSpec, *command: str, status: int = 0) -> str:
    """Run a program in the rack's namespace; what it said."""
    done = subprocess.run(
        namespace.inside(spec.name, *command), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def ipmitool(spec: RackSpec, name: str, *command: str) -> str:
    """Run it for a machine; it asks again after 15 s, not after one: a login that is asked for twice is refused."""
    machine = spec.machine(name)
    where = ("-H", machine.bmc_address, "-U", USERNAME, "-E", "-C", "17")
    os.environ["IPMI_PASSWORD"] = machine.password
    return inside(spec, "ipmitool", "-I", "lanplus", "-N", "15", *where, *command)


SUSHY = """
import sys, urllib3, sushy
urllib3.disable_warnings()
system = sushy.Sushy(*sys.argv[1:4], verify=False).get_system("/redfish/v1/Systems/1")
exec(sys.argv[4])
"""


def redfish(spec: RackSpec, name: str, code: str) -> str:
    """Run lines of Python with sushy's `system` of one machine."""
    machine = spec.machine(name)
    url = f"https://{machine.bmc_address}"
    return inside(spec, sys.executable, "-W", "ignore", "-c", SUSHY, url, USERNAME, machine.password, code)


class Screen:
    """What a machine prints on its serial console."""

    def __init__(self, spec: RackSpec, name: str) -> None:
        self._path = spec.root_of(spec.machine(name)) / "console.log"
        self._from = 0

    def text(self) -> str:
        """What it printed since the last `expect` that was met."""
        if not self._path.exists():
            return ""
        return self._path.read_bytes()[self._from :].decode("ascii", "replace")

    def skip(self) -> None:
        """Leave out what was printed so far."""
        self._from = self._path.stat().st_size if self._path.exists() else 0

    def expect(self, pattern: str, limit_s: float = BOOT_S) -> str:
        """Wait until it prints this; what matched."""
        found: re.Match[str] | None = None

        def there() -> bool:
            nonlocal found
            found = re.search(pattern, self.text())
            return found is not None

        assert process.wait_until(there, limit_s), f"no {pattern!r} in:\n{self.text()[-2000:]}"
        assert found is not None
        self._from += len(self.text()[: found.end()].encode("ascii", "replace"))
        return found[0]


def power_of(spec: RackSpec, name: str) -> str:
    return next(str(row["power"]) for row in control.ask(spec.control, "status") if row["name"] == name)


@contextlib.contextmanager
def running(command: list[str], log: Path, until: str) -> Iterator[Path]:
    """A program that writes to `log` while the context lasts; begins when it said `until`."""
    with log.open("wb") as said:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        assert process.wait_until(lambda: until in log.read_text(errors="replace"), SOON_S), log.read_text()
        yield log
    finally:
        child.terminate()
        child.wait(SOON_S)


@contextlib.contextmanager
def dhcp(spec: RackSpec, root: Path, log: Path) -> Iterator[Path]:
    """A stand-in for the daemon: addresses, undionly or snponly by TFTP, and for iPXE the script in `root`."""
    command = [
        "dnsmasq", "-k", "-C", "/dev/null", "--port=0", f"--interface={namespace.BRIDGE}", "--bind-interfaces",
        "--except-interface=lo", "--log-dhcp", "--log-facility=-", "--user=root", "--no-ping", "--pid-file=",
        "--dhcp-leasefile=/dev/null", "--dhcp-range=10.77.0.100,10.77.0.150,255.255.255.0",
        "--dhcp-range=fd77::,ra-only", "--enable-ra", "--enable-tftp", f"--tftp-root={root}",
        "--dhcp-match=set:efi,option:client-arch,7", "--dhcp-match=set:ipxe,175",
        "--dhcp-boot=tag:efi,tag:!ipxe,snponly.efi", f"--dhcp-boot=tag:ipxe,tftp://{GATEWAY}/boot.ipxe",
        "--dhcp-option-force=tag:ipxe,175,b0:01:01:01",
    ]  # fmt: skip
    with running(namespace.inside(spec.name, *command), log, "DHCP, IP range") as found:
        yield found


@contextlib.contextmanager
def web(spec: RackSpec, root: Path, log: Path) -> Iterator[Path]:
    """The files in `root` over HTTP, on port 8000 of the rack's bridge."""
    server = [sys.executable, "-u", "-m", "http.server", "8000", "--bind", GATEWAY, "--directory", str(root)]
    with running(namespace.inside(spec.name, *server), log, "Serving HTTP") as found:
        yield found


class HostCapture:
    """DHCP packets on any interface of the host."""

    def __init__(self, log: Path) -> None:
        self._log = log

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        command = ["tcpdump", "-Z", "root", "-i", "any", "-n", "-l", "--immediate-mode", "udp port 67 or udp port 547"]
        with running(command, self._log, "listening on"):
            yield
            threading.Event().wait(QUIET)

    def packets(self) -> list[str]:
        return [line for line in self._log.read_text().splitlines() if re.match(r"\d\d:\d\d:\d\d", line)]
