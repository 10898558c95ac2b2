"""A machine as it is after its power-on: firmware, loader, discovery system with its agent, installed system."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import closing
from typing import Any

from provisioner.dhcp import packet
from provisioner.dhcp.options import Opt, Type
from provisioner.model.net import Mac
from tests.bench.lifecycle.names import HTTP_PORT, RELAY, SERVER, mac_of, name_of, uuid_of

FIRMWARE = {Opt.VENDOR_CLASS: b"HTTPClient:Arch:00016:UNDI:003001", Opt.CLIENT_ARCH: b"\0\x10"}
IPXE = {Opt.USER_CLASS: b"iPXE", Opt.CLIENT_ARCH: b"\0\x10", Opt.IPXE: b"\x13\x01\x01\x21\x01\x01"}
SYSTEM = {Opt.VENDOR_CLASS: b"udhcp 1.35.0"}
ASKED = bytes((1, 3, 6, 12, 15, 42, 54, 60, 66, 67))
AGAIN_S = 4.0
"""RFC 2131 section 4.1: the first repeat comes after four seconds."""
TRIES = 5
REPORT_S, REPORTS = 10.0, 360
"""Pause before an installed system reports once more, and how often, as templates/snippets/phone-home-script.sh.j2."""
ANSWER_S = 60.0
BODY_LIMIT = 1 << 22
HOME = re.compile(r"quoted '?([A-Za-z0-9_-]{43})\b")
"""The token of `agent/image.sh.j2`: 32 octets in base64."""


class Relay:
    """The relay agent of all racks: carries the machines' DHCP, and hands answers to who asked."""

    def __init__(self, address: str = RELAY) -> None:
        self._waiting: dict[int, asyncio.Future[packet.Packet]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((address, 67))
        self._socket.setblocking(False)
        self._giaddr = int.from_bytes(socket.inet_aton(address))
        self.repeats = 0

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._drain)

    def _drain(self) -> None:
        while True:
            try:
                found = packet.decode(self._socket.recv(2048))
            except BlockingIOError:
                return
            waiting = self._waiting.pop(found.xid, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(found)

    async def ask(self, mac: Mac, kind: Type, options: dict[int, bytes]) -> packet.Packet:
        """Send one message until it is answered."""
        loop = asyncio.get_running_loop()
        xid, message = self._message(mac, kind, options)
        for _ in range(TRIES):
            answer = self._waiting[xid] = loop.create_future()
            self._socket.sendto(message, (SERVER, 67))
            try:
                async with asyncio.timeout(AGAIN_S):
                    return await answer
            except TimeoutError:
                self.repeats += 1
        raise RuntimeError(f"{mac}: DHCP {kind.name}: no answer")

    async def tell(self, mac: Mac, kind: Type, options: dict[int, bytes]) -> None:
        """Send one message that is not answered."""
        await asyncio.get_running_loop().sock_sendto(self._socket, self._message(mac, kind, options)[1], (SERVER, 67))

    def _message(self, mac: Mac, kind: Type, options: dict[int, bytes]) -> tuple[int, bytes]:
        hardware = bytes.fromhex(mac.replace(":", ""))
        xid = int.from_bytes(hardware[2:])
        given = {Opt.MESSAGE_TYPE: bytes((kind,)), Opt.REQUEST_LIST: ASKED, Opt.MAX_SIZE: b"\x05\xc0", **options}
        asks = packet.Packet(1, 1, 1, xid, 0, 0, 0, 0, 0, self._giaddr, hardware, bytes(64), bytes(128), kind, given)
        return xid, packet.encode(asks)

    async def lease(self, mac: Mac, options: dict[int, bytes]) -> tuple[str, str]:
        """Get an address; also the boot file that comes with it."""
        offer = await self.ask(mac, Type.DISCOVER, options)
        wanted = {Opt.REQUESTED_ADDRESS: offer.yiaddr.to_bytes(4), Opt.SERVER_ID: offer.options[Opt.SERVER_ID]}
        answer = await self.ask(mac, Type.REQUEST, options | wanted)
        if answer.type != Type.ACK:
            raise RuntimeError(f"{mac}: DHCP answered {answer.type}")
        name = answer.options.get(Opt.BOOT_FILE, b"") or answer.file.rstrip(b"\0")
        return packet.address(answer.yiaddr), name.rstrip(b"\0").decode()


class Connection:
    """HTTP/1.1 over one connection from the machine's own address: no more than the agents' wget does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: str) -> Connection:
        return cls(*await asyncio.open_connection(SERVER, HTTP_PORT, local_addr=(address, 0), limit=BODY_LIMIT))

    def close(self) -> None:
        self._writer.close()

    async def ask(self, method: str, path: str, token: str = "", body: Any = None) -> bytes:
        """Send one request and read its answer; raise `RuntimeError` where it is no success."""
        return await self.ask_raw(method, path, token, b"" if body is None else json.dumps(body).encode())

    async def ask_raw(self, method: str, path: str, token: str, data: bytes) -> bytes:
        """The same with a body that is ready."""
        bearer = f"Authorization: Bearer {token}\r\n" if token else ""
        kind = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n" if data else ""
        self._writer.write(f"{method} {path} HTTP/1.1\r\nHost: {SERVER}\r\n{bearer}{kind}\r\n".encode() + data)
        async with asyncio.timeout(ANSWER_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            size = int(head.partition("content-length:")[2].partition("\r")[0] or 0)
            content = await self._reader.readexactly(size)
        if head.split(" ", 2)[1][0] != "2":
            raise RuntimeError(f"{method} {path}: {head.splitlines()[0]} {content[:200]!r}")
        return content


class Metal:
    """One machine: what it does from one power-on to the next power-off."""

    def __init__(self, at: int, relay: Relay) -> None:
        self._at = at
        self._mac = mac_of(at)
        self._relay = relay
        self._home = ""

    async def boot(self, network: bool) -> None:
        """Start from the network, or from the disk."""
        if network:
            await self._from_network()
        elif self._home:
            address, _ = await self._relay.lease(self._mac, SYSTEM)
            for _ in range(REPORTS):
                if await self._reports(address):
                    return
                await asyncio.sleep(REPORT_S)
            raise RuntimeError(f"{self._mac}: its report was not taken")

    async def _reports(self, address: str) -> bool:
        """Say that the system runs, and whether that was heard: this one is up before its BMC says that it is on."""
        body = {"hostname": name_of(self._at), "os": "Debian GNU/Linux 12", "addresses": [address]}
        with closing(await Connection.open(address)) as line:
            try:
                await line.ask("POST", "/agent/v1/phone-home", self._home, body)
            except RuntimeError:
                return False
        return True

    async def _from_network(self) -> None:
        address, loader = await self._relay.lease(self._mac, FIRMWARE)
        with closing(await Connection.open(address)) as line:
            await line.ask("GET", path_of(loader))
        address, script_url = await self._relay.lease(self._mac, IPXE)
        with closing(await Connection.open(address)) as line:
            script = (await line.ask("GET", path_of(script_url))).decode()
            for word in script.split():
                if "/artifacts/" in word:
                    await line.ask("GET", path_of(word))
        await self._relay.lease(self._mac, SYSTEM)
        with closing(await Connection.open(address)) as line:
            await self._agent(line, script.partition("provisioner.token=")[2].split()[0])

    async def _agent(self, line: Connection, token: str) -> None:
        command = (await line.ask("POST", "/agent/v1/facts", token, facts_of(self._at))).decode()
        while True:
            verb, _, job = command.strip().partition(" ")
            if verb == "run":
                content = (await line.ask("GET", f"/agent/v1/job/{job}", token)).decode()
                self._home = home_token(content)
                for percent in (10, 50, 90):
                    await line.ask("POST", "/agent/v1/progress", token, {"phase": "write", "percent": percent})
                done = {"job": job, "status": 0}
                command = (await line.ask("POST", "/agent/v1/done", token, done)).decode()
            else:
                command = (await line.ask("GET", "/agent/v1/next", token)).decode()


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def home_token(job: str) -> str:
    """Find what the installed system is to report with: the job writes it to the disk."""
    found = HOME.search(job)
    return found[1] if found else ""


def facts_of(at: int) -> dict[str, Any]:
    """A report of a machine of common size, as `ramdisk/facts.sh` sends it: 4 disks, 4 ports."""
    disks = [f"nvme{n}n1" for n in range(4)]
    return {
        "format": 1,
        "dmi": {
            "sys_vendor": "Simulated", "product_name": "S-1", "product_serial": f"SN{at:06}",
            "product_uuid": uuid_of(at), "bios_version": "1.2.3", "bios_date": "2025-01-01",
        },
        "firmware": {"type": "uefi", "secure_boot": "0"},
        "cpu": {"model": "EPYC 9354", "architecture": "x86_64", "sockets": 2, "cores": 64, "threads": 128},
        "memory": {"total_kb": str(256 << 20)},
        "lsblk": {"blockdevices": [
            {"name": name, "type": "disk", "size": 960 << 30, "rota": False, "tran": "nvme", "model": "Simulated SSD",
             "serial": f"D{at:05}{n}"} for n, name in enumerate(disks)]},
        "disks": [{"name": name, "wwid": f"eui.{at:08x}{n:08x}", "bus": "nvme"} for n, name in enumerate(disks)],
        "nics": [{"name": f"eth{n}", "address": f"52:54:0{n}{mac_of(at)[8:]}", "driver": "ice", "carrier": "1",
                  "speed": "25000", "bus_address": f"0000:4{n}:00.0"} for n in range(4)],
    }  # fmt: skip
