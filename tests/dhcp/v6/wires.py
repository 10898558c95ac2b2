"""Namespaces for DHCPv6: link-local addresses are there at once, and the kernel asks nobody whether they are taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.dhcp.wires import Wires, wires

LOOKS = 2000
QUICK = ("net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.dad_transmits=0")


def add(it: Wires, *names: str) -> None:
    """Make namespaces."""
    for name in names:
        it.add(name)
        it.run(name, "sysctl", "-qw", *QUICK)


def until_ready(it: Wires, **ports: str) -> None:
    """Wait until these ports (by namespace) have the address that a cable brings: the kernel notices it in its time."""
    for name, port in ports.items():
        for _ in range(LOOKS):
            if it.ip(name, "-6", "address", "show", "dev", port, "scope", "link", "-tentative"):
                break
        else:
            raise AssertionError(f"{port} of {name} got no link-local address")


def bridge(it: Wires, name: str, addresses: tuple[str, ...], clients: tuple[str, ...]) -> None:
    """Make br0 in a namespace, with these addresses, and a cable to `eth0` of each client."""
    it.ip(name, "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
    for address in addresses:
        it.ip(name, "addr", "add", address, "dev", "br0", "nodad")
    it.ip(name, "link", "set", "br0", "up")
    for number, client in enumerate(clients):
        it.cable(name, f"p{number}", client, "eth0")
        it.ip(name, "link", "set", f"p{number}", "master", "br0")


@contextmanager
def joined(folder: Path, server: str, relay: str) -> Iterator[Wires]:
    """A server's namespace and a relay's with these addresses, joined."""
    with wires(folder) as it:
        add(it, "server", "relay")
        it.cable("server", "eth0", "relay", "eth0")
        it.ip("server", "addr", "add", f"{server}/64", "dev", "eth0", "nodad")
        it.ip("relay", "addr", "add", f"{relay}/64", "dev", "eth0", "nodad")
        until_ready(it, server="eth0", relay="eth0")
        yield it


@contextmanager
def lan6(folder: Path) -> Iterator[Wires]:
    """A server with a bridge that two clients are on."""
    with wires(folder) as it:
        add(it, "server", "one", "two")
        bridge(it, "server", ("fd44::1/64",), ("one", "two"))
        until_ready(it, server="br0", one="eth0", two="eth0")
        yield it


@contextmanager
def routed6(folder: Path) -> Iterator[Wires]:
    """A server behind a router, whose bridge two clients are on."""
    with wires(folder) as it:
        add(it, "server", "router", "one", "two")
        bridge(it, "router", ("fd44::fe/64",), ("one", "two"))
        it.cable("server", "up0", "router", "down0")
        it.ip("server", "addr", "add", "fd45::1/64", "dev", "up0", "nodad")
        it.ip("router", "addr", "add", "fd45::2/64", "dev", "down0", "nodad")
        it.ip("server", "route", "add", "fd44::/64", "via", "fd45::2")
        it.run("router", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        until_ready(it, server="up0", router="br0", one="eth0", two="eth0")
        until_ready(it, router="down0")
        yield it
