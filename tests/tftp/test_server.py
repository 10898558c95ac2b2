"""The server on real sockets: right content, right addresses, and it stays alive and bounded whatever comes."""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import socket
from pathlib import Path

import pytest

from provisioner.boot.files import FileTable
from provisioner.errors import ListenError
from provisioner.tftp.netascii import MAX_BYTES
from provisioner.tftp.packet import Ack, Data, Error, ErrorCode, Mode, OptionAck, Options, Request, encode
from provisioner.tftp.server import TftpServer
from provisioner.tftp.trace import EACH, WAITING, Trace
from tests.tftp.client import Client, fetch
from tests.tftp.conftest import LARGE, MAC, PER_CLIENT, SMALL, Served, put

FETCHES: dict[str, tuple[str, Options, bytes]] = {
    "plain RFC 1350": ("snponly.efi", (), SMALL),
    "with a block size": ("snponly.efi", (("blksize", "1468"),), SMALL),
    "with a window": ("vmlinuz", (("blksize", "1468"), ("windowsize", "64")), LARGE),
    "every option at once (C-T4)": (
        "vmlinuz",
        (("tsize", "0"), ("blksize", "65464"), ("timeout", "3"), ("windowsize", "16"), ("multicast", "")),
        LARGE,
    ),
    "an empty file": ("empty", (("tsize", "0"),), b""),
    "shim's and GRUB's slashes": ("//dir//grubx64.efi", (), b"grub"),
    "rendered for this client": ("grub/grub.cfg", (), b"for 127.0.0.1\n"),
}


@pytest.mark.parametrize(("name", "options", "content"), FETCHES.values(), ids=FETCHES.keys())
async def test_fetch(served: Served, name: str, options: Options, content: bytes) -> None:
    assert await fetch(served.address, name, options) == content
    await served.idle()
    assert served.events() == ["tftp.start", "tftp.done"]
    assert served.server.counts == {"complete": 1}


@pytest.mark.parametrize("name", ["grub.cfg", "fault"])
async def test_what_cannot_be_made_for_a_client(served: Served, name: str) -> None:
    """A refusal is told; a fault of ours leaves the client to ask again, and takes no place."""
    with Client(served.address) as client:
        client.ask(name)
        if name == "grub.cfg":
            assert await client.receive() == Error(ErrorCode.NOT_FOUND, "nothing is served under this name")
            assert served.trace[0].text == "grub.cfg: 127.0.0.1 has no lease"
    await served.idle()
    assert await fetch(served.address, "snponly.efi") == SMALL


async def test_firmware_gives_its_address_back_before_we_hear_that_it_has_its_file(served: Served) -> None:
    """OVMF by DHCPv6: its Release may be read before its last acknowledgement, which may be lost besides."""
    with Client(served.address) as client:
        client.ask("dir/grubx64.efi")
        assert await client.receive() == Data(1, b"grub")
        served.leases.clear()
        client.send(encode(Ack(1)))
        await served.idle()
    assert served.fetched == [(MAC, "dir/grubx64.efi")]
    assert [(line.event, line.mac) for line in served.trace] == [("tftp.start", MAC), ("tftp.done", MAC)]


async def test_fetch_by_ipv6(served: Served) -> None:
    assert await fetch(served.server.addresses[1], "vmlinuz", (("blksize", "1468"), ("windowsize", "9"))) == LARGE


async def test_netascii(served: Served) -> None:
    assert await fetch(served.address, "snponly.efi", (), Mode.NETASCII) == SMALL.replace(b"\r\n", b"\r\0\r\n")


async def test_netascii_of_a_large_file_is_refused(served: Served, tmp_path: Path) -> None:
    served.table.replace([put(tmp_path, "huge", bytes(MAX_BYTES + 1))])
    answer = await fetch(served.address, "huge", (), Mode.NETASCII)
    assert isinstance(answer, Error)
    assert "ask in octet mode" in served.trace[-1].text
    assert await fetch(served.address, "huge") == bytes(MAX_BYTES + 1)


async def test_netascii_of_what_is_made_for_a_client(served: Served) -> None:
    assert await fetch(served.address, "grub/grub.cfg", (), Mode.NETASCII) == b"for 127.0.0.1\r\n"


@pytest.mark.parametrize(("wildcard", "asked"), [("0.0.0.0", "127.0.0.77"), ("::", "::1")], ids=["IPv4", "IPv6"])
async def test_a_wildcard_answers_from_the_address_that_was_asked(served: Served, wildcard: str, asked: str) -> None:
    """A refusal, too: firmware leaves unread what comes from elsewhere."""
    server = TftpServer([(wildcard, 0)], table=served.table, trace=Trace(served.trace.append))
    await server.start()
    port = server.addresses[0][1]
    with Client((asked, port)) as client:
        assert await client.get("snponly.efi") == SMALL
        assert client.peer is not None
        assert client.peer[0] == asked
    with Client((asked, port)) as client:
        assert isinstance(await client.get("absent.efi"), Error)
        assert client.peer == (asked, port)
    await server.stop()


async def test_the_table_changes_while_it_serves(served: Served, tmp_path: Path) -> None:
    served.table.replace([put(tmp_path, "snponly.efi", b"newer")])
    assert await fetch(served.address, "snponly.efi") == b"newer"
    assert isinstance(await fetch(served.address, "vmlinuz"), Error)


REFUSED: dict[str, str] = {
    "not in the table": "absent.efi",
    "the parent": "../../../etc/passwd",
    "absolute": "/etc/passwd",
    "a backslash": "..\\..\\etc\\passwd",
    "percent-encoded": "%2e%2e/etc/passwd",
    "more dots": "....//....//etc/passwd",
    "a dot": "./snponly.efi",
    "a directory": "dir",
    "a directory with its slash": "dir/",
    "empty": "",
    "slashes": "////",
    "not ASCII": "snp\xf6nly.efi",
    "a line feed": "a\nb",
    "200 octets (C-T1)": "a" * 200,
    "500 octets (C-T1)": "a" * 500,
    "2,000 octets (C-T1)": "a" * 2000,
}


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED.keys())
async def test_refused(served: Served, name: str) -> None:
    answer = await fetch(served.address, name)
    assert isinstance(answer, Error)
    assert answer.code == ErrorCode.NOT_FOUND
    assert len(answer.message) < 100
    assert "\n" not in served.trace[0].text
    assert not served.trace[0].ok


async def test_requests_without_end_are_answered_and_not_all_told(served: Served) -> None:
    with Client(served.address) as client:
        for number in range(2 * EACH.burst):
            client.ask(f"x{number}")
            assert isinstance(await client.receive(), Error)
    assert served.server.counts == {"refused": 2 * EACH.burst}
    assert EACH.burst <= len(served.trace) < EACH.burst + WAITING


async def test_a_symlink_in_the_store_is_not_followed(served: Served, tmp_path: Path) -> None:
    file = put(tmp_path, "link", b"content")
    file.path.unlink()
    file.path.symlink_to("/etc/hostname")
    served.table.replace([file])
    assert isinstance(await fetch(served.address, "link"), Error)
    assert served.events() == ["tftp.unreadable"]


async def test_a_file_that_is_not_what_is_on_record_is_not_served(served: Served, tmp_path: Path) -> None:
    file = put(tmp_path, "cut", b"content")
    file.path.write_bytes(b"cont")
    served.table.replace([file])
    assert isinstance(await fetch(served.address, "cut"), Error)


async def test_nothing_can_be_written(served: Served) -> None:
    with Client(served.address) as client:
        client.send(encode(Request("evil", Mode.OCTET, write=True)))
        answer = await client.receive()
    assert isinstance(answer, Error)
    assert answer.code == ErrorCode.ACCESS_VIOLATION


STRAYS = {
    "an ERROR of 9,000 octets (C-T6)": b"\0\5\0\1" + b"x" * 9000,
    "a name of 9,000 octets (C-T1)": b"\0\1" + b"x" * 9000 + b"\0octet\0",
    "the octets that end tftpy (C-T8)": bytes.fromhex("0001000031"),
    "an ACK": b"\0\4\0\1",
    "a block": b"\0\3\0\1data",
    "nothing": b"",
    "no mode (C-T2)": b"\0\1name\0",
}


@pytest.mark.parametrize("data", STRAYS.values(), ids=STRAYS.keys())
async def test_strays_are_counted_and_not_answered(served: Served, data: bytes) -> None:
    with Client(served.address) as client:
        client.send(data)
        assert await client.get("snponly.efi") == SMALL  # the first answer is to this
    assert served.server.counts["stray"] + served.server.counts["malformed"] == 1


@pytest.mark.slow
async def test_ten_thousand_mutated_packets_end_nothing(served: Served) -> None:
    chance = random.Random(0)
    seeds = [encode(Request("vmlinuz", Mode.OCTET, (("blksize", "1468"), ("tsize", "0")))), *STRAYS.values()]
    with Client(served.address) as client:
        for _ in range(10_000):
            data = bytearray(chance.choice(seeds)[:600])
            for _ in range(chance.randrange(1, 4)):
                if data:
                    data[chance.randrange(len(data))] = chance.randrange(256)
            client.send(bytes(data), client.server)
            if not chance.randrange(50):
                await asyncio.sleep(0)
    assert await fetch(served.address, "snponly.efi", bind="127.0.0.2") == SMALL


async def test_a_repeated_request_starts_no_second_transfer(served: Served) -> None:
    with Client(served.address) as client:
        for _ in range(5):
            client.ask("vmlinuz", (("tsize", "0"),))
        assert await client.receive() == OptionAck((("tsize", str(len(LARGE))),))
        await asyncio.sleep(0)
        assert served.server.transfers == 1
        assert served.events() == ["tftp.start"]


async def test_a_new_request_from_the_same_port_ends_the_old_transfer(served: Served) -> None:
    with Client(served.address) as client:
        client.ask("vmlinuz", (("tsize", "0"),))
        await client.receive()
        assert await client.get("snponly.efi") == Error(0, "a new request from this port")
        assert isinstance(await client.receive(), Data)
    assert served.server.transfers == 1


async def test_a_client_that_only_asks_for_the_size(served: Served) -> None:
    with Client(served.address) as client:
        client.ask("vmlinuz", (("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")))
        assert isinstance(await client.receive(), OptionAck)
        client.send(encode(Error(8, "User aborted the transfer")))
        assert await client.get("snponly.efi") == SMALL
    assert served.events()[:2] == ["tftp.start", "tftp.aborted"]
    assert served.trace[1].ok


@pytest.mark.slow
async def test_a_client_whose_port_closes_frees_its_place(served: Served) -> None:
    with Client(served.address) as client:
        client.ask("vmlinuz")
        await client.receive()
    assert await fetch(served.address, "snponly.efi") == SMALL
    await served.idle()
    assert served.server.counts["gone"] == 1


async def test_silent_requests_never_keep_others_out(served: Served) -> None:
    """300 requests that never acknowledge, from one address and from many (C-T9)."""
    clients = [Client(served.address, bind=f"127.0.{n % 50}.{1 + n // 200}") for n in range(300)]
    for client in clients:
        client.ask("vmlinuz", (("tsize", "0"),))
    assert await fetch(served.address, "snponly.efi", bind="127.0.99.1") == SMALL
    assert served.server.transfers <= 100
    for client in clients:
        client.sock.close()


@pytest.mark.slow
async def test_half_open_transfers_by_the_thousand(served: Served) -> None:
    """5000 requests of 5000 clients that never acknowledge: a place each at most, then the oldest make room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    clients: list[Client] = []
    try:
        before = resident_bytes()
        for number in range(5000):
            clients.append(Client(served.address, bind=f"127.1.{number // 250}.{number % 250 + 1}"))
            clients[-1].ask("vmlinuz", (("tsize", "0"), ("windowsize", "64")))
            if number % 100 == 0:
                await asyncio.sleep(0)
        assert await fetch(served.address, "snponly.efi", bind="127.2.0.1") == SMALL
        assert served.server.transfers <= 100
        assert resident_bytes() - before < 5000 * 12_000, "sockets of both ends included"
    finally:
        for client in clients:
            client.sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def test_one_address_cannot_take_every_place(served: Served) -> None:
    clients = [Client(served.address) for _ in range(PER_CLIENT)]
    for client in clients:
        client.ask("vmlinuz", (("tsize", "0"),))
        await client.receive()
        client.send(encode(Ack(0)))
        assert isinstance(await client.receive(), Data)
    with Client(served.address) as client:
        client.ask("vmlinuz")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.receive()
    assert served.server.counts["busy"] == 1
    assert await fetch(served.address, "snponly.efi", bind="127.0.0.2") == SMALL
    for client in clients:
        client.sock.close()


async def test_nobody_else_can_take_part_in_a_transfer(served: Served) -> None:
    with Client(served.address) as client, Client(served.address, bind="127.0.0.3") as other:
        client.ask("vmlinuz")
        assert isinstance(await client.receive(), Data)
        other.send(encode(Error(0, "die")), client.peer)
        other.send(encode(Ack(1)), client.peer)
        client.send(encode(Ack(1)))
        packet = await client.receive()
    assert isinstance(packet, Data)
    assert packet.block == 2


@pytest.mark.slow
async def test_no_descriptor_is_left_behind(served: Served) -> None:
    async def descriptors_after(fetches: int) -> int:
        for _ in range(fetches):
            await fetch(served.address, "vmlinuz", (("blksize", "1468"), ("windowsize", "64")))
            await fetch(served.address, "absent")
        await served.idle()
        gc.collect()  # files that other tests served
        return len(list(Path("/proc/self/fd").iterdir()))

    assert await descriptors_after(1) == await descriptors_after(20)


async def test_stopping_tells_the_clients(served: Served) -> None:
    with Client(served.address) as client:
        client.ask("vmlinuz", (("tsize", "0"),))
        await client.receive()
        await served.server.stop()
        assert await client.receive() == Error(0, "the server stops")


async def test_a_taken_port_ends_the_start(served: Served) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        server = TftpServer(
            [("127.0.0.1", 0), ("127.0.0.1", port)], table=FileTable(), trace=Trace(served.trace.append)
        )
        with pytest.raises(ListenError, match=rf"{port}: Address already in use .`ss -lunp"):
            await server.start()
