"""What a machine does on the wire, a step at a time: firmware, loader, discovery system, installed system."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from contextlib import closing
from typing import Any

from provisioner.dhcp.options import Opt, Type
from provisioner.tftp.packet import Ack, Data, Mode, OptionAck, Request, decode, encode
from tests.bench.lifecycle.metal import IPXE, SYSTEM, Connection, Relay, facts_of, home_token, path_of
from tests.bench.lifecycle.names import SERVER, TLS_PORT, mac_of

FIRMWARE = {Opt.VENDOR_CLASS: b"PXEClient:Arch:00007:UNDI:003016", Opt.CLIENT_ARCH: b"\0\x07"}
STRANGE = {Opt.VENDOR_CLASS: b"PXEClient:Arch:00039:UNDI:003016", Opt.CLIENT_ARCH: b"\0\x27"}
OTHER_SERVER = bytes((10, 96, 0, 254))
TFTP_PORT, BLOCK, ANSWER_S = 69, 1428, 20.0
REPORTS_S = 5.0


class Guest:
    """One machine. `relays` are the wires that its ports may be on, by name; `boots` counts its power-ons."""

    def __init__(self, at: int, relays: dict[str, Relay]) -> None:
        self._at = at
        self._mac = mac_of(at)
        self._relays = relays
        self._line: Connection | None = None
        self.boots = 0
        self.address = ""
        self.script = ""
        self.home = ""
        self.print = lambda _text: None

    # DHCP

    async def asks(self, options: dict[int, bytes], wire: str = "lab", *, take: bool = True) -> str:
        """Ask for an address and, unless told otherwise, take it; the name of the file that comes with it."""
        relay = self._relays[wire]
        if not take:
            await relay.ask(self._mac, Type.DISCOVER, options)
            return ""
        self.address, name = await relay.lease(self._mac, options)
        return name

    async def asks_in_vain(self, options: dict[int, bytes], wire: str) -> None:
        """Ask once, and hear nothing."""
        await self._relays[wire].tell(self._mac, Type.DISCOVER, options)

    async def takes_another_offer(self) -> None:
        """Ask everybody, and take what another server offers."""
        offer = await self._relays["lab"].ask(self._mac, Type.DISCOVER, FIRMWARE)
        wanted = {Opt.REQUESTED_ADDRESS: offer.yiaddr.to_bytes(4), Opt.SERVER_ID: OTHER_SERVER}
        await self._relays["lab"].tell(self._mac, Type.REQUEST, FIRMWARE | wanted)

    async def declines(self) -> None:
        """Give an address back that somebody else uses."""
        await self.asks(FIRMWARE)
        wanted = {Opt.REQUESTED_ADDRESS: socket.inet_aton(self.address), Opt.SERVER_ID: socket.inet_aton(SERVER)}
        await self._relays["lab"].tell(self._mac, Type.DECLINE, wanted)

    # files

    async def tftp(self, name: str, blocks: int = 1 << 16) -> None:
        """Read a file, or its first blocks and then nothing."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind((self.address, 0))
            request = Request(name, Mode.OCTET, (("blksize", str(BLOCK)),))
            await loop.sock_sendto(sock, encode(request), (SERVER, TFTP_PORT))
            async with asyncio.timeout(ANSWER_S):
                while blocks:
                    raw, peer = await loop.sock_recvfrom(sock, 2048)
                    match decode(raw):
                        case OptionAck():
                            await loop.sock_sendto(sock, encode(Ack(0)), peer)
                        case Data(number, payload):
                            await loop.sock_sendto(sock, encode(Ack(number)), peer)
                            blocks = blocks - 1 if len(payload) == BLOCK else 0
                        case _:
                            return

    async def loads(self) -> None:
        """Come as far as the loader."""
        await self.tftp(await self.asks(FIRMWARE))

    async def refuses_our_certificate(self) -> None:
        """Begin HTTPS as firmware does that trusts another CA: its TLS says so, and hangs up."""
        await self.asks(FIRMWARE)

        def refuse() -> None:
            with (
                socket.create_connection((SERVER, TLS_PORT), ANSWER_S, (self.address, 0)) as line,
                contextlib.suppress(ssl.SSLCertVerificationError),
            ):
                ssl.create_default_context().wrap_socket(line, server_hostname=SERVER)

        await asyncio.to_thread(refuse)

    async def gets(self, path: str, address: str = "") -> bytes:
        """Fetch something by HTTP, on a connection of its own."""
        with closing(await Connection.open(address or self.address)) as line:
            return await line.ask("GET", path)

    async def reads_script(self) -> None:
        """Come as far as the boot script."""
        await self.loads()
        self.script = (await self.gets(path_of(await self.asks(IPXE)))).decode()

    @property
    def files(self) -> list[str]:
        """What the script has it load: the kernel, then the rest."""
        return [path_of(word) for word in self.script.split() if "/artifacts/" in word]

    async def starts_kernel(self) -> None:
        """Come as far as the kernel's first instruction."""
        await self.reads_script()
        for path in self.files:
            await self.gets(path)

    async def breaks_off(self) -> None:
        """Stop reading in the middle of the largest file."""
        await self.reads_script()
        line = await asyncio.open_connection(SERVER, 8080, local_addr=(self.address, 0))
        line[1].write(f"GET {self.files[-1]} HTTP/1.1\r\nHost: {SERVER}\r\n\r\n".encode())
        await line[0].readexactly(4096)
        line[1].transport.abort()

    # the discovery system

    async def reports(self, *, secure_boot: bool = False) -> str:
        """Come as far as the discovery system's report; its command."""
        await self.starts_kernel()
        await self.asks(SYSTEM)
        self._line = await Connection.open(self.address)
        facts = facts_of(self._at)
        facts["firmware"]["secure_boot"] = "1" if secure_boot else "0"
        return (await self.says("POST", "facts", facts)).strip()

    async def inspected(self, *, secure_boot: bool) -> None:
        """Report what it is, and no more."""
        await self.reports(secure_boot=secure_boot)

    async def says(self, method: str, call: str, body: Any = None) -> str:
        """Speak as the agent."""
        assert self._line is not None
        token = self.script.partition("provisioner.token=")[2].split()[0]
        return (await self._line.ask(method, f"/agent/v1/{call}", token, body)).decode()

    async def takes_job(self) -> str:
        """Come as far as the job; its name."""
        command = await self.reports()
        while not command.startswith("run "):
            command = (await self.says("GET", "next")).strip()
        job = command[4:]
        self.home = home_token(await self.says("GET", f"job/{job}"))
        return job

    async def fails(self, *said: str) -> None:
        """Take the job, and end it as the agent does whose job failed with these last words."""
        job = await self.takes_job()
        if said[:-1]:
            await self.log(*said[:-1])
        await self.says("POST", "done", {"job": job, "status": 1, "message": said[-1]})

    async def log(self, *lines: str) -> None:
        """Send lines of the agent's log."""
        assert self._line is not None
        token = self.script.partition("provisioner.token=")[2].split()[0]
        await self._line.ask_raw("POST", "/agent/v1/log", token, "\n".join(lines).encode())

    async def works_on(self, phase: str) -> None:
        """Take the job, and report the same phase for ever, each time on a connection of its own, as the agent does."""
        await self.takes_job()
        while True:
            with closing(await Connection.open(self.address)) as self._line:
                await self.says("POST", "progress", {"phase": phase, "percent": 5})
            await asyncio.sleep(REPORTS_S)

    async def installs(self) -> None:
        """Do the job to its end."""
        job = await self.takes_job()
        await self.says("POST", "done", {"job": job, "status": 0})
