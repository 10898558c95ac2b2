"""The daemon's end of netwatch: a process that dies, hangs, talks nonsense or does not start holds up nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from provisioner.netwatch.messages import MAX_EARS
from provisioner.netwatch.supervisor import NOWHERE, QUEUED, REMEMBERED, SILENT_S, TOO_MANY, Netwatch, environment
from tests.netwatch.rig import script, until, watching

HEAD = """
import socket, sys
sys.path.insert(0, {root!r})
from provisioner.netwatch.messages import *
sock = socket.socket(fileno=int(sys.argv[1]))
def say(report):
    sock.send(encode(report))
"""
ROOT = str(Path(__file__).parents[2])
READY = "sock.recv(9000)\nsay(Ready())\n"
USED = """
while data := sock.recv(9000):
    match decode_request(data):
        case Look(id, interface, address): say(Looked(id, "somebody" if address % 2 else ""))
"""


def netwatch(folder: Path, text: str, *, limit_s: float = 20.0, silent_s: float = SILENT_S) -> Netwatch:
    command = script(folder, HEAD.format(root=ROOT) + text)
    return Netwatch(command=command, pauses_s=(0.01,), limit_s=limit_s, silent_s=silent_s)


async def up(watch: Netwatch) -> None:
    await until(lambda: not watch.fault)


async def test_it_is_asked_and_answers(tmp_path: Path) -> None:
    watch = netwatch(tmp_path, READY + USED)
    async with watching(watch):
        await up(watch)
        assert await watch.look("eth0", 1) == "somebody"
        assert await watch.look("eth0", 2) == ""
    assert watch.counts == {"used": 1, "free": 1}
    assert watch.pid is None


@pytest.mark.slow
async def test_an_address_that_was_free_a_moment_ago_is_not_looked_at_again(tmp_path: Path) -> None:
    watch = netwatch(tmp_path, READY + USED)
    async with watching(watch):
        await up(watch)
        for _ in range(3):
            assert await watch.look("eth0", 2) == ""
            assert await watch.look("eth0", 3) == "somebody"
        assert await watch.look("eth1", 2) == ""
        assert watch.counts == {"free": 2, "known": 2, "used": 3}
        for first in range(10, REMEMBERED + 2000, 1000):
            await asyncio.gather(*(watch.look("eth0", 2 * n) for n in range(first, first + 1000)))
        assert await watch.look("eth0", 2) == ""
    assert watch.counts["known"] == 2, "the first of so many is forgotten"


async def test_two_who_ask_for_one_address_at_once_are_one_look(tmp_path: Path) -> None:
    watch = netwatch(tmp_path, READY + USED)
    async with watching(watch):
        await up(watch)
        assert await asyncio.gather(watch.look("eth0", 1), watch.look("eth0", 1)) == ["somebody", "somebody"]
    assert watch.counts == {"used": 1}


async def test_where_no_process_runs_nobody_uses_anything() -> None:
    watch = Netwatch()
    assert await watch.look("eth0", 1) == ""
    assert (watch.counts, watch.fault) == ({"blind": 1}, "it starts")


async def test_a_process_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    watch = netwatch(tmp_path, READY + "sock.recv(9000)\nwhile True: pass\n", limit_s=0.02)
    async with watching(watch):
        await up(watch)
        assert await watch.look("eth0", 1) == ""
        assert watch.counts == {"late": 1}
        assert watch.pid is not None
        os.kill(watch.pid, signal.SIGKILL)  # it does not end by itself


async def test_a_process_that_is_killed_is_started_again_and_told_where_to_listen(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    text = f"open({str(seen)!r}, 'a').write(repr(decode_request(sock.recv(9000))) + chr(10))\nsay(Ready())\n"
    watch = netwatch(tmp_path, text + "while sock.recv(9000): pass\n")
    watch.listen(["eth0", "eth1", "eth0"], ["eth1"])
    ups: list[int] = []
    watch.on_up = lambda: ups.append(watch.pid or 0)
    async with watching(watch):
        await up(watch)
        looked = watch.look("eth0", 1)
        assert watch.pid is not None
        os.kill(watch.pid, signal.SIGKILL)
        assert await looked == "", "what was asked of it is answered all the same"
        await until(lambda: len(ups) == 2)
        assert ups[0] != ups[1] == watch.pid
    assert watch.restarts == 1
    assert watch.counts == {"blind": 1}
    assert seen.read_text().splitlines() == ["Listen(interfaces=('eth0', 'eth1'), six=('eth1',))"] * 2


@pytest.mark.slow
async def test_a_process_that_says_nothing_any_more_is_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where nobody looks for an address: it is asked whether it is there."""
    seen = tmp_path / "seen"
    answers = f"""
import signal
first = not open({str(seen)!r}, 'a').tell()
while data := sock.recv(9000):
    with open({str(seen)!r}, 'a') as file: print(decode_request(data), file=file)
    if first and len(open({str(seen)!r}).readlines()) == 2: signal.pause()
    say(Ready())
"""
    watch = netwatch(tmp_path, answers, silent_s=2.0)
    watch.listen(["eth0"])
    async with watching(watch):
        await until(lambda: seen.exists() and len(seen.read_text().splitlines()) > 2 and not watch.fault)
    assert "netwatch.died why=it did not answer for 2 s" in caplog.text
    assert set(seen.read_text().splitlines()) == {"Listen(interfaces=('eth0',), six=())"}


async def test_interfaces_beyond_what_it_listens_on_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"vlan{number}" for number in range(MAX_EARS + 2)]
    watch = netwatch(tmp_path, READY + USED)
    watch.listen(names)
    left_out = dict.fromkeys(names[MAX_EARS:], TOO_MANY)
    async with watching(watch):
        await up(watch)
        assert (len(watch.interfaces), watch.deaf) == (MAX_EARS, left_out)
        watch.listen(names)
        assert caplog.text.count("netwatch.deaf interface=vlan128,vlan129 why=of more than 128") == 1
        watch.listen(names[2:])
        assert watch.deaf == {}


NONSENSE = {
    "bytes that are no message": "sock.send(b'nonsense')",
    "a message that is too long": "sock.send(bytes(9000))",
    "an answer that nobody asked for": "say(Looked(99, 'x'))\nsys.exit()",
    "nothing: it ends at once": "sys.exit()",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", NONSENSE.values(), ids=NONSENSE.keys())
async def test_a_process_that_talks_nonsense_is_started_again(tmp_path: Path, text: str) -> None:
    watch = netwatch(tmp_path, READY + text + "\nsock.recv(9000)\n")
    async with watching(watch):
        await until(lambda: watch.restarts >= 2)
    assert watch.fault == "the daemon stops"


async def test_a_process_that_cannot_be_started_is_tried_again_and_said_why() -> None:
    watch = Netwatch(command=("/nonexistent/netwatch",), pauses_s=(0.0,))
    async with watching(watch):
        await until(lambda: watch.restarts >= 2)
        assert watch.fault == "it cannot be started: No such file or directory"
        assert await watch.look("eth0", 1) == ""


async def test_questions_that_it_does_not_read_are_bounded(tmp_path: Path) -> None:
    watch = netwatch(tmp_path, READY + "sock.recv(0)\nimport signal\nsignal.pause()\n")
    async with watching(watch):
        await up(watch)
        looks = [watch.look("eth0", n) for n in range(3 * QUEUED)]
        assert 0 < sum(look.done() for look in looks) < len(looks)
        assert watch.counts["blind"] >= QUEUED
        assert watch.pid is not None
        os.kill(watch.pid, signal.SIGKILL)
        assert set(await asyncio.gather(*looks)) == {""}


async def test_what_it_cannot_listen_on_is_known_until_it_can(tmp_path: Path) -> None:
    text = "say(Deaf('eth7', 'No such device'))\nsock.recv(9000)\nsay(Deaf('eth7', ''))\nsay(Tally(3, 4))\n"
    watch = netwatch(tmp_path, READY + text + "sock.recv(9000)\n")
    async with watching(watch):
        await until(lambda: watch.deaf)
        assert watch.deaf == {"eth7": "No such device"}
        watch.ask("eth7")
        await until(lambda: not watch.deaf)
        await until(lambda: watch.unread == 4)


async def test_where_nothing_can_be_asked_in_ipv6_looks_go_on_and_it_is_known_for_as_long_as_it_matters(
    tmp_path: Path,
) -> None:
    text = "say(Deaf('eth0', 'no address', True))\nsay(Deaf('', 'no ping'))\n"
    watch = netwatch(tmp_path, text + READY + USED)
    watch.listen(["eth0", "eth1"], ["eth0"])
    async with watching(watch):
        await up(watch)
        assert watch.deaf == {"eth0": "no address", "": "no ping"}
        assert await watch.look("eth0", 1) == "somebody"
        watch.listen(["eth0", "eth1"], ["eth1"])
        assert watch.deaf == {"": "no ping"}


async def test_where_it_can_open_no_socket_no_offer_waits_for_it(tmp_path: Path) -> None:
    """It runs without CAP_NET_RAW: what it would say of an address means nothing."""
    deaf = "".join(f"say(Deaf({name!r}, 'Operation not permitted'))\n" for name in ("", "eth0"))
    watch = netwatch(tmp_path, "sock.recv(9000)\n" + deaf + "say(Ready())\n" + USED)
    async with watching(watch):
        await up(watch)
        for interface, found in (("eth0", ""), ("", ""), ("eth1", "somebody")):
            assert await watch.look(interface, 1) == found
    assert watch.counts == {"blind": 2, "used": 1}


@pytest.mark.slow
async def test_it_is_not_imported_by_the_daemon() -> None:
    """scapy is GPL-2.0-only, and slow to import: it stays in netwatch's process (docs/decisions/0001)."""
    code = "import sys, provisioner.daemon, provisioner.cli; sys.exit('scapy' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


def test_a_cache_that_cannot_be_looked_into_is_not_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert environment()["XDG_CACHE_HOME"] == str(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", f"/{'x' * 300}")  # who may do everything is refused only what is no name
    assert environment()["XDG_CACHE_HOME"] == NOWHERE


def test_a_user_whom_nobody_knows_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container, where `--user` is given a number."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", dict[int, object]().__getitem__)
    assert environment()["XDG_CACHE_HOME"] == NOWHERE


async def test_what_cannot_be_started_at_all_raises_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="embedded null byte"):
        await Netwatch(command=(f"{tmp_path}/\0",)).run()


@pytest.mark.slow
async def test_scapy_starts_without_a_cache() -> None:
    given = os.environ | {"XDG_CACHE_HOME": NOWHERE}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import provisioner.netwatch.frames", env=given
    )
    assert await process.wait() == 0
