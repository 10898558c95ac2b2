"""Updates against a real BIND: whose names are changed, and what is said when it does not take them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.clock import SteadyClock
from provisioner.ddns.keeper import Keeper
from provisioner.ddns.key import Key, parse_key
from provisioner.ddns.names import Owner, Wanted
from provisioner.ddns.settings import Conflict, Dns
from provisioner.ddns.update import TIMEOUT_S, Updates
from provisioner.errors import DnsError
from provisioner.store.db import Database
from provisioner.store.names import NameStore
from tests.ddns.bind import KEY, SECRET, Bind

pytestmark = pytest.mark.peer

ONE, TWO = Owner(0, b"\1\x52\x54\0\0\0\1"), Owner(0, b"\1\x52\x54\0\0\0\2")
A, B = b"\x0a\0\0\5", b"\x0a\0\0\6"
SIX = bytes.fromhex("fd000000000000000000000000000005")
NAME, POINTER = "node1.rack.example.", "5.0.0.10.in-addr.arpa."
POINTER6 = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa."


@pytest.fixture
def bind(tmp_path: Path) -> Iterator[Bind]:
    server = Bind(tmp_path / "bind")
    server.start()
    yield server
    server.stop()


def settings(bind: Bind, **more: Any) -> Dns:
    base = Dns(
        server=bind.address,
        port=bind.port,
        forward=("rack.example", "closed.example"),
        reverse=("0.0.10.in-addr.arpa", "0.0.0.0.0.0.d.f.ip6.arpa"),
    )
    return replace(base, **more)


QUICK_S = 0.5
"""Where nobody is to answer."""


def updates(bind: Bind, timeout_s: float = TIMEOUT_S, **more: Any) -> Updates:
    return Updates(settings(bind, **more), parse_key(KEY, "f", "", ""), timeout_s=timeout_s)


async def on(bind: Bind, name: str) -> Any:
    return await asyncio.to_thread(bind.records, name)


async def test_a_name_and_its_pointer_come_and_go_and_may_be_repeated(bind: Bind) -> None:
    say = updates(bind)
    for _ in range(2):
        assert await say.add(NAME, ONE, [A])
        assert await on(bind, NAME) == {"A": ["10.0.0.5"]}
        assert await on(bind, POINTER) == {"PTR": [NAME]}
    for _ in range(2):
        await say.remove(NAME, ONE, A)
        assert (await on(bind, NAME), await on(bind, POINTER)) == ({}, {})
    assert await asyncio.to_thread(bind.ask, NAME, "DHCID") == []


async def test_both_families_share_a_name(bind: Bind) -> None:
    say = updates(bind)
    assert await say.add(NAME, ONE, [A])
    assert await say.add(NAME, ONE, [SIX])
    assert await on(bind, NAME) == {"A": ["10.0.0.5"], "AAAA": ["fd00::5"]}
    assert await on(bind, POINTER6) == {"PTR": [NAME]}
    await say.remove(NAME, ONE, A)
    assert await on(bind, NAME) == {"AAAA": ["fd00::5"]}
    await say.remove(NAME, ONE, SIX)
    assert await on(bind, NAME) == {}


async def test_two_addresses_of_one_machine(bind: Bind) -> None:
    say = updates(bind)
    await say.add(NAME, ONE, [A])
    await say.add(NAME, ONE, [B, A])
    assert await on(bind, NAME) == {"A": ["10.0.0.5", "10.0.0.6"]}


async def test_a_new_address_takes_the_place_of_the_old_one(bind: Bind) -> None:
    say = updates(bind)
    await say.add(NAME, ONE, [A])
    await say.add(NAME, ONE, [B])
    assert await on(bind, NAME) == {"A": ["10.0.0.6"]}


async def test_a_name_that_somebody_wrote_is_never_touched(bind: Bind) -> None:
    for conflict in Conflict:
        say = updates(bind, conflict=conflict)
        assert not await say.add("www.rack.example.", ONE, [A])
        await say.remove("www.rack.example.", ONE, b"\x0a\0\0\1")
        assert await on(bind, "www.rack.example.") == {"A": ["10.0.0.1"]}
    assert await on(bind, POINTER) == {}


async def test_a_name_of_another_machine_is_taken_over_only_where_that_is_wanted(bind: Bind) -> None:
    assert await updates(bind).add(NAME, ONE, [A])
    assert not await updates(bind).add(NAME, TWO, [B])
    await updates(bind).remove(NAME, TWO, A)
    assert await on(bind, NAME) == {"A": ["10.0.0.5"]}
    assert await updates(bind, conflict=Conflict.ANY_DHCID).add(NAME, TWO, [B])
    assert await on(bind, NAME) == {"A": ["10.0.0.6"]}
    assert not await updates(bind).add(NAME, ONE, [A])


async def test_a_pointer_that_is_another_names_stays(bind: Bind) -> None:
    say = updates(bind)
    await say.add(NAME, ONE, [A])
    await say.add("node2.rack.example.", TWO, [A])
    await say.remove(NAME, ONE, A)
    assert await on(bind, POINTER) == {"PTR": ["node2.rack.example."]}


async def test_an_address_in_no_reverse_zone_has_no_pointer(bind: Bind) -> None:
    assert await updates(bind, reverse=()).add(NAME, ONE, [A])
    assert (await on(bind, NAME), await on(bind, POINTER)) == ({"A": ["10.0.0.5"]}, {})


SIGNED = base64.b64decode(SECRET)
REFUSALS: dict[str, tuple[Key | None, str, str]] = {
    "a wrong secret": (Key("provisioner", "hmac-sha256", b"wrong"), NAME, "the secret of our key is not its own"),
    "a key that it does not know": (Key("other", "hmac-sha256", SIGNED), NAME, "it does not know our key"),
    "another algorithm": (Key("provisioner", "hmac-sha512", SIGNED), NAME, "it does not know our key"),
    "no key": (None, NAME, "zone rack.example: it refuses our updates: allow them for the key"),
    "a zone that takes none": (
        Key("provisioner", "hmac-sha256", SIGNED),
        "x.closed.example.",
        "zone closed.example: it refuses our updates",
    ),
    "a zone that it has not": (
        Key("provisioner", "hmac-sha256", SIGNED),
        "x.other.example.",
        "zone other.example: it is not the primary server of that zone (NOTAUTH)",
    ),
}


@pytest.mark.parametrize(("key", "name", "text"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_what_it_does_not_take(bind: Bind, key: Key | None, name: str, text: str) -> None:
    zones = ("rack.example", "closed.example", "other.example")
    with pytest.raises(DnsError) as raised:
        await Updates(settings(bind, forward=zones), key).add(name, ONE, [A])
    assert f"{bind.address} port {bind.port}: {text}" in str(raised.value)


@pytest.mark.slow
async def test_nobody_there(bind: Bind) -> None:
    bind.stop()
    with pytest.raises(DnsError, match="it does not answer"):
        await updates(bind, QUICK_S).add(NAME, ONE, [A])


@pytest.mark.slow
async def test_a_server_that_was_down_hears_everything_once_it_is_up(bind: Bind, tmp_path: Path) -> None:
    bind.stop()
    database = Database(tmp_path / "state.db")
    await database.open()
    keeper = Keeper(updates(bind, QUICK_S), NameStore(database), SteadyClock(), pauses_s=(0.05,))
    await keeper.open()
    addresses = [bytes((10, 0, 0, 100 + n)) for n in range(20)]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(keeper.run())
        for n, address in enumerate(addresses):
            keeper.hold(address, Wanted(f"n{n}.rack.example.", Owner(0, bytes((n,))), 1e12))
        while not keeper.status().error:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(bind.start)
        while keeper.status().pending or keeper.status().error:
            await asyncio.sleep(0.01)
        assert await on(bind, "n19.rack.example.") == {"A": ["10.0.0.119"]}
        bind.stop()
        for address in addresses[1:]:
            keeper.drop(address)
        while not keeper.status().error:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(bind.start)
        while keeper.status().pending or keeper.status().error:
            await asyncio.sleep(0.01)
        assert (await on(bind, "n0.rack.example."), await on(bind, "n19.rack.example.")) == ({"A": ["10.0.0.100"]}, {})
        assert [record.name for record in await NameStore(database).load()] == ["n0.rack.example."]
        task.cancel()
    await database.close()
