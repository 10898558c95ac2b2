"""Two network namespaces and a cable: the daemon on one end; machines, their BMCs and their relay on the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.bench.dhcp.wire import run
from tests.bench.lifecycle.names import BMC_ROUTE, MACHINE_ROUTE, PORT, RELAY, SERVER
from tests.spaces import fresh

REAL_TIME = ("chrt", "-r", "11")
"""All processes, ours and the peer's: what else runs on the machine is then no part of the figures."""
AFTER_US = ("chrt", "-r", "10")
"""The racks: machines and BMCs are elsewhere in truth, and have no processor to take from whoever asks us. Of equal
rank they would keep it for the 100 ms of a turn, and an operator's wait would be one for them."""


@dataclass(frozen=True, slots=True)
class Wire:
    """The two ends."""

    racks: str = field(default_factory=lambda: fresh("lifeb-racks"))
    daemon: str = field(default_factory=lambda: fresh("lifeb-daemon"))

    def inside(self, namespace: str, *words: str) -> list[str]:
        """A command, run in a namespace."""
        rank = AFTER_US if namespace == self.racks else REAL_TIME
        return ["ip", "netns", "exec", namespace, *rank, *words]


@contextmanager
def wire() -> Iterator[Wire]:
    """Make the namespaces; they go with everything in them. Every address of a rack is the rack's own."""
    it = Wire()
    try:
        for namespace in (it.racks, it.daemon):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        # an address that nobody leased yet must not answer to the daemon's probe
        quiet = ("net.ipv4.icmp_echo_ignore_all=1", "net.ipv4.conf.all.arp_ignore=1")
        run("ip", "netns", "exec", it.racks, "sysctl", "-q", "-w", *quiet)
        peer = ("peer", "name", PORT, "netns", it.daemon)
        run("ip", "link", "add", "life0", "netns", it.racks, "type", "veth", *peer)
        for namespace, port, own in ((it.racks, "life0", RELAY), (it.daemon, PORT, SERVER)):
            run("ip", "-n", namespace, "addr", "add", f"{own}/24", "dev", port)
            run("ip", "-n", namespace, "link", "set", port, "up")
        for route in (MACHINE_ROUTE, BMC_ROUTE):
            run("ip", "-n", it.racks, "route", "add", "local", route, "dev", "lo")
            run("ip", "-n", it.daemon, "route", "add", route, "via", RELAY)
        yield it
    finally:
        for namespace in (it.racks, it.daemon):
            run("ip", "netns", "del", namespace)
