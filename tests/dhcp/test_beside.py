"""Mode proxy beside real DHCP servers: they give the addresses, we say what to boot, and nobody else notices."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from provisioner.dhcp.case import Arrival
from provisioner.dhcp.neighbours import neighbour
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import BOOTREPLY, BROADCAST, Packet, decode, encode
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Mode, Subnet
from provisioner.lab.process import wait_until
from tests.dhcp.clients import BIOS, HTTP, IPXE, MAC, UEFI, ask, chain, packet
from tests.dhcp.existing import EXISTING
from tests.dhcp.netns import inside
from tests.dhcp.wires import Server, Wires, report_script, told, wires

pytestmark = [pytest.mark.netns, pytest.mark.peer]

US, THEM = "10.46.0.1", "10.46.0.2"
CONFIG = """
subnets:
  - {network: 10.46.0.0/24, interface: br0, mode: proxy}
"""
LIMIT_S = 60


@pytest.fixture(params=EXISTING)
def lan(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wires]:
    """Our namespace with a bridge, one of a server that is there already, and two clients."""
    with wires(tmp_path) as it:
        it.add("server")
        it.bridge("server", f"{US}/24", {"p0": "existing", "p1": "one", "p2": "two"})
        it.ip("existing", "addr", "add", f"{THEM}/24", "dev", "eth0")
        server = EXISTING[request.param](tmp_path, "eth0", "10.46.0")
        log = tmp_path / "existing.log"
        with log.open("w") as said:
            start(it, server.command, server.environment, said.fileno())
        wait_for(log, server.ready)
        yield it


def start(lan: Wires, command: list[str], environment: dict[str, str], said: int) -> None:
    """Start the server that is there already."""
    words = lan.inside("existing", *command)
    lan.running.append(subprocess.Popen(words, env={**os.environ, **environment}, stdout=said, stderr=said, text=True))


def wait_for(log: Path, text: str) -> None:
    """Wait until a log has this."""
    assert wait_until(lambda: text in log.read_text(), LIMIT_S), log.read_text()


class Client:
    """Firmware of a machine: what it sends and hears on port 68, and on a port of its own for 4011."""

    def __init__(self, lan: Wires, name: str, options: dict[int, bytes]) -> None:
        self.options = options
        self.mac = lan.run(name, "cat", "/sys/class/net/eth0/address").strip()
        self.xid = secrets.randbits(32)
        with inside(lan.names[name]):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
            self.socket.bind(("", 68))
        self.socket.settimeout(LIMIT_S)

    def say(self, kind: Type, options: dict[int, bytes], to: tuple[str, int] = ("255.255.255.255", 67)) -> None:
        sent = packet(kind, self.mac, self.options | options, xid=self.xid, flags=BROADCAST)
        self.socket.sendto(encode(sent), to)

    def hear(self, server: str, kind: Type) -> Packet:
        """Wait for a message of this server."""
        while True:
            found = decode(self.socket.recv(2048))
            who = found.options.get(Opt.SERVER_ID)
            if found.op == BOOTREPLY and found.type == kind and who == IPv4Address(server).packed:
                return found

    def offers(self) -> dict[str, Packet]:
        """Ask for an address; what each of the two servers offers."""
        self.say(Type.DISCOVER, {})
        found: dict[str, Packet] = {}
        while len(found) < 2:
            heard = decode(self.socket.recv(2048))
            found[str(IPv4Address(heard.options[Opt.SERVER_ID]))] = heard
        return found

    def take(self, offer: Packet) -> str:
        """Take an offered address from the one who offers it."""
        server = offer.options[Opt.SERVER_ID]
        wanted = offer.yiaddr.to_bytes(4, "big")
        self.say(Type.REQUEST, {Opt.SERVER_ID: server, Opt.REQUESTED_ADDRESS: wanted})
        assert self.hear(str(IPv4Address(server)), Type.ACK).yiaddr == offer.yiaddr
        return str(IPv4Address(offer.yiaddr))


@contextmanager
def client(lan: Wires, name: str, options: dict[int, bytes]) -> Iterator[Client]:
    it = Client(lan, name, options)
    try:
        yield it
    finally:
        it.socket.close()


SCRIPT = "http://10.46.0.1:8080/boot/{mac}/script.ipxe"
FIRMWARE = {
    "BIOS PXE": (BIOS, b"snponly.efi"),
    "UEFI PXE, which is to ask again on port 4011": (UEFI, b""),
    "UEFI HTTP": (HTTP, b"http://10.46.0.1:8080/files/snponly.efi"),
    "iPXE": (IPXE, SCRIPT.encode()),
}


@pytest.mark.parametrize(("options", "name"), FIRMWARE.values(), ids=FIRMWARE.keys())
def test_firmware_gets_its_address_from_them_and_its_boot_file_from_us(
    lan: Wires, options: dict[int, bytes], name: bytes
) -> None:
    lan.serve("server", CONFIG)
    with client(lan, "one", options) as it:
        offers = it.offers()
        assert offers.keys() == {US, THEM}
        ours, theirs = offers[US], offers[THEM]
        assert (ours.yiaddr, Opt.LEASE_TIME in ours.options) == (0, False)
        assert str(IPv4Address(theirs.yiaddr)).startswith("10.46.0.2")
        assert ours.options.get(Opt.BOOT_FILE, b"") == name.replace(b"{mac}", it.mac.encode())
        it.take(theirs)


def test_uefi_asks_on_port_4011_and_what_it_has_from_them_is_known(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    with client(lan, "one", UEFI) as it:
        address = it.take(it.offers()[THEM])
        lan.ip("one", "addr", "add", f"{address}/24", "dev", "eth0")
        it.say(Type.REQUEST, {}, (US, 4011))
        acked = it.hear(US, Type.ACK)
    assert (acked.yiaddr, acked.options[Opt.BOOT_FILE]) == (0, b"snponly.efi")
    assert acked.options[Opt.VENDOR_CLASS] == b"PXEClient"
    assert acked.siaddr == int(IPv4Address(US))
    server.until("dhcp.ack")
    assert [event for event in server.events() if event != "dhcp.silence"] == ["dhcp.offer", "dhcp.ack"]


class NoLeases:
    """A store that is not asked."""

    def save(self, leases: object) -> object:
        raise AssertionError("we give no addresses")

    async def load(self) -> list[object]:
        return []


def test_whose_an_address_is_that_another_server_gave(tmp_path: Path) -> None:
    """By the machine's own word; where we did not hear it, since we were restarted, by ARP."""
    leases: Any = NoLeases()
    proxy = Subnet(network="10.46.0.0/24", interface="br0", mode=Mode.PROXY)
    server = DhcpServer(Dhcp(subnets=(proxy,)), decide=chain, leases=leases, observe=lambda _: None)
    taken = packet(Type.REQUEST, MAC, UEFI | {Opt.REQUESTED_ADDRESS: IPv4Address("10.46.0.201").packed})
    ask(server.site, taken, Arrival("br0", int(IPv4Address(US))))
    with wires(tmp_path) as it:
        it.add("server")
        it.bridge("server", f"{US}/24", {"p1": "one"})
        it.ip("one", "addr", "add", "10.46.0.200/24", "dev", "eth0")
        it.run("one", "busybox", "ping", "-c", "1", "-W", "5", US)
        mac = it.run("one", "cat", "/sys/class/net/eth0/address").strip()
        with inside(it.names["server"]):
            assert server.lease_of("10.46.0.200") == mac
            assert server.lease_of("10.46.0.201") == MAC
            assert server.lease_of("10.46.0.202") is None
            assert neighbour("eth9", int(IPv4Address("10.46.0.200"))) is None
            server.set_subnet(replace(proxy, mode=Mode.RESERVATIONS_ONLY))
            assert server.lease_of("10.46.0.200") is None, "where we give addresses, leases count"
            assert server.lease_of("10.46.0.201") is None


def udhcpc(lan: Wires) -> dict[str, str]:
    script = str(report_script(lan.folder))
    lan.run("two", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "2", "-s", script)
    return told(lan.folder)


def reasons_of(server: Server) -> set[str]:
    return {text.partition(": ")[2] for _, _, text in server.trace()}


def only_silence(server: Server) -> bool:
    return set(server.events()) == {"dhcp.silence"}


def test_operating_systems_get_all_they_need_from_them_and_nothing_from_us(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    found = udhcpc(lan)
    assert (found["serverid"], found["ip"][:9]) == (THEM, "10.46.0.2")
    assert "boot_file" not in found
    reasons = {"does not boot from the network", "the other server's business"}
    assert wait_until(lambda: reasons_of(server) == reasons, LIMIT_S), server.trace()
    assert only_silence(server)
