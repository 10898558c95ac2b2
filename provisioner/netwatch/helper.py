"""netwatch's process: probes for addresses in use and hears other DHCP servers. The only program that imports scapy.

    python -m provisioner.netwatch.helper FD

FD is its end of a socket pair to the daemon. It ends when the daemon does, or when it is told to go.
"""

from __future__ import annotations

import os
import resource
import secrets
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from provisioner.dhcp.limit import Limiter
from provisioner.errors import WireError
from provisioner.netwatch import filter as bpf
from provisioner.netwatch import frames6
from provisioner.netwatch.ears import Ear, Pinger, link_local
from provisioner.netwatch.frames import Answer, Frames, answer_of, ping
from provisioner.netwatch.looking import MOST, Looking, Send, Target, Way
from provisioner.netwatch.messages import (
    MAX_BYTES,
    Ask,
    Ask6,
    Asked,
    Deaf,
    Heard,
    Heard6,
    Listen,
    Look,
    Looked,
    Ready,
    Report,
    Request,
    Tally,
    decode_request,
    encode,
)
from provisioner.netwatch.privileges import keep_only_net_raw

READ_PER_S, READ_BURST = 100.0, 200
"""Messages of DHCP servers that are read, of one interface: scapy takes up to 1 ms for each, and a flood is as clear
from the first hundred."""
ANSWERS, SERVERS = 64, 8
"""Frames read in one turn: a look that is due waits no longer than for these, some 10 ms."""
TELL_AGAIN_S = 0.01
AGAIN_S = 2.0
"""How soon an interface is tried again that could not be opened, or asked on, and counters are told."""
NO_LINK_LOCAL = "no link-local address of IPv6 that may be used: nobody there is asked by DHCPv6"
MEMORY_BYTES = 512 << 20
ARP, ARP_SENDER, ARP_TARGET = b"\x08\x06", slice(28, 32), slice(38, 42)


class Wire(NamedTuple):
    """One interface, heard twice: a flood of servers' messages must not push out the answers to a look."""

    frames: Frames
    answers: Ear
    servers: Ear

    def close(self) -> None:
        """Listen no more."""
        self.answers.close()
        self.servers.close()


class Helper:
    """What the daemon wants, and the sockets for it."""

    def __init__(self, daemon: socket.socket) -> None:
        self._daemon = daemon
        self._identifier = secrets.randbelow(0xFFFF) + 1
        self._wanted: tuple[str, ...] = ()
        self._wires: dict[str, Wire] = {}
        self._deaf: dict[tuple[str, bool], str] = {}
        """What was said of an interface, and of one on which nothing can be asked in IPv6."""
        self._unasked: dict[str, float] = {}
        """Interfaces with a question by DHCPv6 that could not leave, and since when: a new address is being checked."""
        self._xid = secrets.randbits(32)
        """Of all our questions: some servers answer one only after the next."""
        self._pinger: Pinger | None = None
        self._looking = Looking()
        self._verdicts: deque[Looked] = deque(maxlen=MOST)
        """Not told yet."""
        self._limiter = Limiter()
        self._unread = 0
        self._told = Tally(0, 0)
        self._poll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._watch(daemon.fileno(), self._on_daemon)
        self._going = True

    def run(self) -> None:
        """Serve until the daemon hangs up."""
        again = time.monotonic() + AGAIN_S
        while self._going:
            now = time.monotonic()
            if now >= again:
                again = now + AGAIN_S
                self._open_missing()
                self._ask_late(now)
                self._tell_counters()
            at = self._looking.next_at()
            wait_s = TELL_AGAIN_S if self._verdicts else max(0.0, min(again, again if at is None else at) - now)
            for fd, _ in self._poll.poll(wait_s):
                if (reader := self._readers.get(fd)) is not None:
                    reader()
            self._carry_out(*self._looking.due(time.monotonic()))

    # the daemon

    def _on_daemon(self) -> None:
        try:
            data = self._daemon.recv(MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._going = False
            return
        try:
            self._do(decode_request(data))
        except WireError:  # an older daemon, or a newer one
            return

    def _do(self, request: Request) -> None:
        match request:
            case Listen(interfaces, six):
                self._wanted = interfaces
                for name in self._wires.keys() - set(interfaces):
                    self._close(name)
                wanted = {("", False), *((name, False) for name in interfaces), *((name, True) for name in six)}
                self._deaf = {key: why for key, why in self._deaf.items() if key in wanted}
                self._unasked = {name: since for name, since in self._unasked.items() if name in six}
                self._open_missing()
                self._say(Ready())
            case Look(id, interface, address, us):
                target = Target(interface if interface in self._wires else "", address, us)
                self._looking.begin(id, target, time.monotonic())
            case Ask(interface):
                if (wire := self._wires.get(interface)) is not None:
                    self._ask(wire, wire.frames.discover(self._xid), six=False)
            case Ask6(interface):
                if interface in self._wires and not self._ask6(interface):
                    self._unasked.setdefault(interface, time.monotonic())

    def _ask(self, wire: Wire, question: bytes, *, six: bool) -> None:
        """Ask, and say so: who does not answer what never left is not gone."""
        if wire.servers.send(question):
            self._say(Asked(wire.frames.interface, six))

    def _ask6(self, name: str) -> bool:
        """Ask by DHCPv6, where we have an address to ask from."""
        wire, own = self._wires.get(name), link_local(name)
        if wire is None or not own:
            return False
        self._unasked.pop(name, None)
        self._can(name, six=True)
        self._ask(wire, frames6.solicit(wire.frames.mac, own, wire.frames.client, self._xid), six=True)
        return True

    def _ask_late(self, now: float) -> None:
        """Ask what could not leave; where it still cannot, and that is no new address, say so."""
        for name, since in list(self._unasked.items()):
            if not self._ask6(name) and name in self._wires and now - since >= AGAIN_S:
                self._cannot(name, NO_LINK_LOCAL, six=True)

    def _say(self, report: Report) -> bool:
        try:
            self._daemon.send(encode(report))
        except BlockingIOError:  # the daemon has more urgent things to do
            return False
        except OSError:
            self._going = False
        return True

    def _tell_counters(self) -> None:
        tally = Tally(self._looking.refused, self._unread)
        if tally != self._told and self._say(tally):
            self._told = tally

    # interfaces

    def _open_missing(self) -> None:
        for name in self._wanted:
            if name not in self._wires:
                self._open(name)
        if self._pinger is None:
            try:
                self._pinger = Pinger()
            except OSError as error:
                self._cannot("", _reason(error))
                return
            self._watch(self._pinger.fileno(), self._on_echoes)

    def _open(self, name: str) -> None:
        try:
            answers = Ear(name, bpf.answers(self._identifier))
            try:
                servers = Ear(name, bpf.servers())
            except OSError:
                answers.close()
                raise
        except (OSError, ValueError) as error:
            self._cannot(name, _reason(error))
            return
        self._wires[name] = Wire(Frames.of(name, answers.mac, self._identifier), answers, servers)
        self._watch(answers.fileno(), lambda: self._read(name, self._on_answers))
        self._watch(servers.fileno(), lambda: self._read(name, self._on_servers))
        self._can(name)

    def _can(self, name: str, *, six: bool = False) -> None:
        if self._deaf.pop((name, six), ""):
            self._say(Deaf(name, "", six))

    def _cannot(self, name: str, why: str, *, six: bool = False) -> None:
        if self._deaf.get((name, six)) != why:
            self._deaf[name, six] = why
            self._say(Deaf(name, why, six))

    def _close(self, name: str) -> None:
        wire = self._wires.pop(name)
        self._forget(wire.answers.fileno())
        self._forget(wire.servers.fileno())
        wire.close()

    def _watch(self, fd: int, reader: Callable[[], None]) -> None:
        self._readers[fd] = reader
        self._poll.register(fd, select.EPOLLIN)

    def _forget(self, fd: int) -> None:
        self._poll.unregister(fd)
        del self._readers[fd]

    # what comes in

    def _read(self, name: str, reader: Callable[[Wire], None]) -> None:
        wire = self._wires.get(name)
        if wire is None:
            return
        try:
            reader(wire)
        except OSError as error:  # it went down or away; it is opened again when it is there
            self._close(name)
            self._cannot(name, _reason(error))

    def _on_answers(self, wire: Wire) -> None:
        for frame in wire.answers.receive(ANSWERS):
            if frame[12:14] == ARP and not self._matters(frame):
                continue
            found = wire.frames.read(frame, self._xid)
            if isinstance(found, Answer):
                self._looking.answered(wire.frames.interface, found.address, found.user)

    def _on_servers(self, wire: Wire) -> None:
        interface = wire.frames.interface
        for frame in wire.servers.receive(SERVERS):
            if not self._limiter.take(interface, READ_PER_S, READ_BURST, time.monotonic()):
                self._unread += 1
                continue
            if frame[12:14] == frames6.ETHERTYPE:
                found: object = frames6.read(interface, frame, wire.frames.client, self._xid)
            else:
                found = wire.frames.read(frame, self._xid)
            if isinstance(found, Heard | Heard6) and not self._say(found):
                self._unread += 1

    def _matters(self, frame: bytes) -> bool:
        """Say whether an ARP frame is about an address that is looked for. Most are not: these cost a microsecond."""
        waits_for = self._looking.waits_for
        sender, target = (int.from_bytes(frame[part], "big") for part in (ARP_SENDER, ARP_TARGET))
        return waits_for(sender) or (not sender and waits_for(target))

    def _on_echoes(self) -> None:
        assert self._pinger is not None
        for packet in self._pinger.receive(ANSWERS):
            if (found := answer_of(packet, self._identifier)) is not None:
                self._looking.answered("", found.address, found.user)

    # what goes out

    def _carry_out(self, sends: Iterable[Send], verdicts: Iterable[tuple[int, str]]) -> None:
        for way, target in sends:
            self._send(way, target)
        self._verdicts += (Looked(id, user) for id, user in verdicts)
        while self._verdicts and self._say(self._verdicts[0]):
            self._verdicts.popleft()

    def _send(self, way: Way, target: Target) -> None:
        if way is Way.ROUTED:
            if self._pinger is not None:
                self._pinger.send(bytes(ping(self._identifier)), target.address)
        elif (wire := self._wires.get(target.interface)) is not None:
            arp, frames = way is Way.ARP, wire.frames
            wire.answers.send(frames.arp(target.address) if arp else frames.echo(target.us, target.address))


def _reason(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error))[:200]


def confine() -> None:
    """Give up what is not needed, before a frame of anybody is read."""
    keep_only_net_raw()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    os.chdir("/")


def main() -> None:
    """Run as a child of the daemon."""
    confine()
    daemon = socket.socket(fileno=int(sys.argv[1]))
    daemon.setblocking(False)
    Helper(daemon).run()


if __name__ == "__main__":
    main()
