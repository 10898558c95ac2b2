"""Where the addresses of a daemon mean something: on this host, and in the network namespace that it listens in."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from provisioner.cli.doctor_probes import ProbeError

CLONE_NEWNET = 0x40000000
"""sched.h: what setns(2) is to enter is a network namespace."""
DISCARD = 9
"""A port to name to the kernel (RFC 863); nothing is sent there."""

T = TypeVar("T")


class Elsewhere(ProbeError):
    """What is to be asked is not on this host: whoever answered would be somebody else."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a daemon listens, as far as it can be known from here.

    `entry` is its network namespace where that is another than ours (network_namespaces(7)); `unseen` why it is not
    known which one it is. A daemon behind a URL may be on any host (not `near`): loopback is then that host's.
    """

    near: bool
    entry: Path | None = None
    unseen: str = ""

    def run(self, host: str, ask: Callable[[], T]) -> T:
        """Have `ask` ask `host` where the daemon is. Raise `Elsewhere` where that cannot be, and send nothing."""
        if self.entry is None:
            return self._here(host, ask)
        with ThreadPoolExecutor(1) as other:  # a namespace is entered by one thread, which ends in it
            return other.submit(self._there, host, ask).result()

    def _there(self, host: str, ask: Callable[[], T]) -> T:
        try:
            _enter(self.entry or Path())
        except OSError as error:
            text = f"{host} not asked: it is in another network namespace: {error.strerror}"
            raise Elsewhere(text, hint="run `doctor` as root, or there") from error
        return self._here(host, ask)

    def _here(self, host: str, ask: Callable[[], T]) -> T:
        loopback = ipaddress.ip_address(host).is_loopback
        if loopback and self.unseen:
            text = f"{host} not asked: the daemon may be in another network namespace, which has a {host} of its own"
            raise Elsewhere(f"{text}: {self.unseen}", hint="run `doctor` as root")
        if not (self.near if loopback else is_ours(host)):
            text = f"{host} not asked: it is no address of this host, so another host might answer"
            raise Elsewhere(text, hint="run `doctor` where the daemon runs, with its socket")
        return ask()


def place_of(pid: int) -> Place:
    """Say where the daemon with this process id listens (0: the process is not known, for it is behind a URL)."""
    theirs = Path(f"/proc/{pid}/ns/net")
    try:
        ours = not pid or theirs.samefile("/proc/self/ns/net")
    except OSError as error:  # only root may look at what root started
        return place_by(pid, theirs, error)
    return place_by(pid, theirs, ours)


def place_by(pid: int, theirs: Path, seen: bool | OSError) -> Place:
    """Say where a process listens by what was seen of its network namespace: that it is ours or not, or nothing."""
    if not pid:
        return Place(near=False)
    if isinstance(seen, OSError):
        return Place(near=True, unseen=f"{theirs}: {seen.strerror}")
    return Place(near=True, entry=None if seen else theirs)


def is_ours(host: str) -> bool:
    """Say whether an address is of this host: the kernel would ask it from that very address. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((host, DISCARD))
            return bool(sock.getsockname()[0] == host)
    except OSError:  # no way leads there
        return False


def _enter(namespace: Path) -> None:
    """Move this thread into a network namespace (setns(2)). Raise `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.open() as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
