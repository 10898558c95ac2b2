"""Strangers whose replies wait for addresses that nobody has, until sockets hold no more: others are served."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from provisioner.dhcp.frame import datagram6
from provisioner.dhcp.options import Type
from provisioner.dhcp.overflow import SO_BINDTODEVICE
from provisioner.dhcp.packet import BOOTREPLY, BROADCAST, Packet, decode, encode
from provisioner.dhcp.v6 import message
from provisioner.dhcp.v6.message import Type as Type6
from tests.dhcp.clients import MAC, discover, ip, request
from tests.dhcp.netns import inside
from tests.dhcp.v6 import clients as six
from tests.dhcp.v6 import wires as wires6
from tests.dhcp.wires import wires

pytestmark = pytest.mark.slow
MANY = 600
"""A socket holds 167 replies of the usual size, at the kernel's usual bounds."""
WAIT_S = 10.0
SERVER = ("10.44.0.1", 67)
EVERYBODY = ("255.255.255.255", 67)
CONFIG = """
subnets:
  - {network: 10.44.0.0/24, interface: br0, pools: [10.44.0.100-10.44.0.199], probe: false}
reservations:
  - {mac: "52:54:00:00:00:01", address: 10.44.0.50}
"""
CONFIG6 = """
subnets6:
  - {network: "fd44::/64", interface: br0, pools: ["fd44::1000-fd44::1fff"]}
"""


def open_port(port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    found.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0\0")
    found.bind(("", port))
    found.settimeout(WAIT_S)
    return found


@pytest.mark.parametrize("mac", [MAC, "52:54:00:00:09:09"], ids=["a machine on record", "a stranger"])
def test_relays_that_are_not_there_hold_up_nobody(mac: str, tmp_path: Path) -> None:
    """Made-up ones, or those that died with requests under way."""
    with wires(tmp_path) as it, ExitStack() as stack:
        it.add("server")
        it.bridge("server", "10.44.0.1/24", {"p1": "one", "p2": "two"})
        for name, own in (("one", "10.44.0.7/24"), ("two", "10.44.0.8/24")):
            it.ip(name, "addr", "add", own, "dev", "eth0")
        server = it.serve("server", CONFIG)
        with inside(it.names["one"]):
            client = stack.enter_context(open_port(68))
        with inside(it.names["two"]):
            relay = stack.enter_context(open_port(67))
        for number in range(MANY):
            bad = request("10.44.9.9", mac, giaddr=ip("10.44.0.150") + number % 50)
            client.sendto(encode(bad), SERVER)

        def ask(by: socket.socket, question: Packet) -> Packet:
            by.sendto(encode(question), EVERYBODY if by is client else SERVER)
            while (heard := decode(by.recv(2048))).op != BOOTREPLY:  # the relay hears the client, too
                pass
            return heard

        for turn in range(20):
            for by, found in ((client, discover(flags=BROADCAST)), (relay, discover(giaddr="10.44.0.8"))):
                answer = ask(by, found._replace(xid=turn))
                assert (answer.xid, answer.type, answer.yiaddr) == (turn, Type.OFFER, ip("10.44.0.50"))
        server.stop()
        assert "dhcp.unsent" not in server.events()


def test_clients_of_ipv6_that_are_not_there_hold_up_nobody(tmp_path: Path) -> None:
    with wires6.lan6(tmp_path) as it, ExitStack() as stack:
        server = it.serve("server", CONFIG6)
        with inside(it.names["one"]):
            raw = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0))
            client = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
            client.bind(("::", 546))
            client.settimeout(WAIT_S)
            index = socket.if_nametoindex("eth0")
        agents = six.ip("ff02::1:2")
        for number in range(MANY):
            bad = six.Says(b"\0\2" + number.to_bytes(4, "big")).message(Type6.CONFIRM, six.ia(1, "fd99::1"))
            packet = datagram6(six.ip("fe80::dead:1") + number, agents, (546, 547), message.encode(bad))
            raw.sendto(packet, ("eth0", 0x86DD, 0, 0, bytes.fromhex("333300010002")))
        for turn in range(20):
            question = six.OS.message(Type6.SOLICIT, six.ia())._replace(xid=turn)
            client.sendto(message.encode(question), ("ff02::1:2", 547, 0, index))
            answer = message.decode(client.recv(2048))
            assert (answer.xid, answer.type) == (turn, Type6.ADVERTISE)
        server.stop()
