"""What becomes of another server's DHCPv6 leases and reservations, case by case; and that their clients keep them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provisioner.dhcp.adopt import Kind, Verdict, Want, What
from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.dhcp.v6.adopt import Adoption6, Said
from provisioner.dhcp.v6.message import Type
from provisioner.dhcp.v6.reservations import key_of
from provisioner.dhcp.v6.site import Site6, association_of, by_association
from provisioner.dhcp.v6.subnets import Mode6, Reservation6
from provisioner.model.boot import Unknown
from tests.dhcp.clients import NOW
from tests.dhcp.v6.clients import (
    FIRMWARE,
    MAC,
    OS,
    OTHER_MAC,
    OVMF_DUID,
    SERVER_DUID,
    Says,
    acquire,
    ask,
    direct,
    duid_ll,
    given,
    ia,
    ip,
    outcome,
    site,
    subnet,
    us,
)

ONE, TWO = duid_ll(), duid_ll(OTHER_MAC)
PORT, OTHER_PORT = (bytes.fromhex(mac.replace(":", "")) for mac in (MAC, OTHER_MAC))
FAR = NOW + 9000


def lease(address: str = "fd00::105", duid: bytes = ONE, iaid: int = 1, **more: Any) -> Want:
    return Want(Kind.LEASE, ip(address), until=FAR, six=True, duid=duid, iaid=iaid, **more)


def fixed(address: str = "fd00::50", key: bytes = b"", duid: bytes = ONE, **more: Any) -> Want:
    return Want(Kind.RESERVATION, ip(address), key, six=True, duid=duid, **more)


class Here:
    """A site, and what was said of it; by default fd00::/64 with a pool from ::100 to ::109."""

    def __init__(self, where: Site6 | None = None, said: tuple[Reservation6, ...] = ()) -> None:
        self.site = where or site(fixed=said)
        self._said = {ip(each.address): each for each in said}
        self._keys = {key_of(each): ip(each.address) for each in said}

    def judge(self, *wants: Want) -> list[Verdict]:
        held = {each.client_id: each for each in self.site.topology.leases() if each.active(NOW)}
        adoption = Adoption6(self.site, Said(self._said.get, self._keys.get, held.get), NOW)
        return [adoption.judge(want) for want in wants]

    def take(self, *wants: Want) -> None:
        """Take them over, as an import does."""
        for verdict in self.judge(*wants):
            assert verdict.what is What.NEW, verdict.reason
            assert verdict.pool is not None
            verdict.pool.bind(verdict.leases[0])


def here(do: Callable[[Site6], object] = lambda _: None, **changes: Any) -> Here:
    found = Here(site(subnet(**changes)))
    do(found.site)
    return found


def given_away(where: Site6) -> None:
    assert acquire(where, Says(TWO), OTHER_MAC) == "fd00::100"


def declined(where: Site6) -> None:
    where.topology.at(ip("fd00::105"))[0].pool.decline(ip("fd00::105"), NOW, 600, "the printer uses it")


SAID = (Reservation6(address="fd00::50", duid="00:03:00:01:52:54:00:00:00:01", name="one"),)
BY_PORT = (Reservation6(address="fd00::50", mac=MAC),)
OTHERS = (Reservation6(address="fd00::105", mac=OTHER_MAC),)
STRANGE = bytes.fromhex("0004" + "ab" * 16)

LEASES: dict[str, tuple[Here, Want, What, str]] = {
    "an address that nobody has": (here(), lease(), What.NEW, ""),
    "no DUID": (here(), lease(duid=b""), What.LEFT_OUT, "it names no DUID"),
    "in no subnet of ours": (here(), lease("fd99::5"), What.CONFLICT, "it is in no subnet that is served here"),
    "in no pool of ours": (here(), lease("fd00::20"), What.CONFLICT, "it is in none of the pools of subnet fd00::/64"),
    "where we are still switched off": (here(mode=Mode6.OFF), lease(), What.NEW, ""),
    "where we give fixed addresses only": (
        here(mode=Mode6.RESERVATIONS_ONLY, pools=()), lease(), What.CONFLICT, "subnet fd00::/64 gives fixed"),
    "our own address": (
        here(server_address="fd00::9"), fixed("fd00::9"), What.CONFLICT, "it is the subnet's server_address"),
    "another client holds it": (
        here(given_away), lease("fd00::100"), What.CONFLICT, f"{OTHER_MAC} holds it"),
    "it has that from us, for less long": (
        here(acquire), lease("fd00::100"), What.SAME, "it lasts longer now"),
    "it has that from us, for longer": (
        here(acquire), lease("fd00::100")._replace(until=NOW + 5), What.SAME, ""),
    "it has a newer one from us": (
        here(acquire), lease(), What.LEFT_OUT, "the client has a newer lease here, fd00::100"),
    "an association of its own": (here(acquire), lease(iaid=2), What.NEW, ""),
    "its fixed address, by DUID": (Here(said=SAID), lease("fd00::50"), What.NEW, ""),
    "its fixed address, by the port in the DUID": (Here(said=BY_PORT), lease("fd00::50"), What.NEW, ""),
    "not its fixed address": (Here(said=SAID), lease(), What.LEFT_OUT, "its fixed address is fd00::50"),
    "another's fixed address": (Here(said=OTHERS), lease(), What.CONFLICT, "it is reserved for another machine"),
    "out of use": (here(declined), lease(), What.CONFLICT, "it is out of use: the printer uses it"),
    "in the pool of strangers": (
        here(unknown=Unknown.QUARANTINE, quarantine_pools=("fd00::200-fd00::209",)), lease("fd00::205"), What.NEW, ""),
}  # fmt: skip


@pytest.mark.parametrize(("where", "want", "what", "reason"), LEASES.values(), ids=LEASES.keys())
def test_leases(where: Here, want: Want, what: What, reason: str) -> None:
    (found,) = where.judge(want)
    assert (found.what, found.reason[: len(reason)]) == (what, reason)
    assert bool(found.leases) == (what is What.NEW or "longer" in reason)


def test_what_a_lease_says_is_kept() -> None:
    (row,) = here().judge(lease(name="n", since=NOW - 5))[0].leases
    association = association_of(ONE, b"\0\0\0\1")
    assert row == Lease(
        ip("fd00::105"), by_association(association), "fd00::/64", FAR, since=NOW - 5, name="n", client_id=association
    )


def test_the_lease_that_an_association_had_before_is_ended_with_it() -> None:
    where = here()
    where.take(lease("fd00::101")._replace(until=NOW + 5))
    net = next(iter(where.site.topology))
    net.pool.release(by_association(association_of(ONE, b"\0\0\0\1")), ip("fd00::101"), NOW)
    (found,) = where.judge(lease())
    assert [(row.ip, row.state) for row in found.leases] == [
        (ip("fd00::105"), LeaseState.BOUND),
        (ip("fd00::101"), LeaseState.RELEASED),
    ]


RESERVATIONS: dict[str, tuple[Here, Want, What, str]] = {
    "for a DUID": (here(), fixed(), What.NEW, ""),
    "for a port": (here(), fixed(key=PORT, duid=b""), What.NEW, ""),
    "inside a pool": (here(), fixed("fd00::105"), What.NEW, ""),
    "hardware that is not Ethernet": (here(), fixed(key=b"\x20" + PORT), What.LEFT_OUT, "its hardware address"),
    "for nobody": (here(), fixed(duid=b""), What.LEFT_OUT, "it names no address, or neither"),
    "in no subnet of ours": (here(), fixed("fd99::5"), What.CONFLICT, "it is in no subnet that is served here"),
    "the same": (Here(said=SAID), fixed(), What.SAME, ""),
    "another address": (Here(said=SAID), fixed("fd00::51"), What.CONFLICT, "fd00::50 is reserved for it"),
    "another machine's": (Here(said=OTHERS), fixed("fd00::105"), What.CONFLICT, f"it is reserved for {OTHER_MAC}"),
    "our own address": (
        here(server_address="fd00::9"), fixed("fd00::9"), What.CONFLICT, "it is the subnet's server_address"),
    "another client holds it": (
        here(given_away), fixed("fd00::100"), What.CONFLICT, OTHER_MAC),
    "the client itself holds it": (here(acquire), fixed("fd00::100"), What.NEW, ""),
    "its port holds it": (here(acquire), fixed("fd00::100", PORT, b""), What.NEW, ""),
    "a name that is none": (here(), fixed(name="a b"), What.NEW, "'a b' is no host name, and is left out"),
}  # fmt: skip


@pytest.mark.parametrize(("where", "want", "what", "reason"), RESERVATIONS.values(), ids=RESERVATIONS.keys())
def test_reservations(where: Here, want: Want, what: What, reason: str) -> None:
    (found,) = where.judge(want)
    assert (found.what, found.reason[: len(reason)]) == (what, reason)
    assert (found.reservation is not None) == (what is What.NEW)


TOGETHER: dict[str, tuple[tuple[Want, ...], list[What]]] = {
    "one address for two clients": ((lease(), lease(duid=TWO)), [What.NEW, What.CONFLICT]),
    "two addresses for one association: the first, which is newer": (
        (lease(), lease("fd00::106")), [What.NEW, What.LEFT_OUT]),
    "two associations of one client": ((lease(), lease("fd00::106", iaid=2)), [What.NEW, What.NEW]),
    "a lease of the address that is fixed for it": ((fixed(), lease("fd00::50")), [What.NEW, What.NEW]),
    "a lease of another address": ((fixed(), lease()), [What.NEW, What.LEFT_OUT]),
    "a lease of another's fixed address": ((fixed("fd00::105"), lease(duid=TWO)), [What.NEW, What.CONFLICT]),
    "one fixed address for two machines": ((fixed(), fixed(duid=TWO)), [What.NEW, What.CONFLICT]),
    "two fixed addresses for one machine": ((fixed(), fixed("fd00::51")), [What.NEW, What.CONFLICT]),
    "the same reservation twice": ((fixed(), fixed()), [What.NEW, What.SAME]),
}  # fmt: skip


@pytest.mark.parametrize(("wants", "whats"), TOGETHER.values(), ids=TOGETHER.keys())
def test_what_stands_in_one_import(wants: tuple[Want, ...], whats: list[What]) -> None:
    assert [found.what for found in here().judge(*wants)] == whats


RANGES = {
    "within a pool": ("fd00::100", "fd00::105", What.SAME),
    "larger than the pool": ("fd00::100", "fd00::1ff", What.LEFT_OUT),
    "elsewhere": ("fd99::1", "fd99::9", What.LEFT_OUT),
}


@pytest.mark.parametrize(("low", "high", "what"), RANGES.values(), ids=RANGES.keys())
def test_ranges(low: str, high: str, what: What) -> None:
    (found,) = here().judge(Want(Kind.RANGE, ip(low), high=ip(high), six=True))
    assert found.what is what


def test_judging_changes_nothing() -> None:
    where = here()
    where.judge(fixed(), lease(duid=TWO))
    assert where.site.topology.leases() == []


# what the clients of another server say to us, whose ports it did not tell

SYSTEM = Says(STRANGE)


def test_a_client_that_renews_or_comes_back_has_its_address() -> None:
    where = here()
    where.take(lease(duid=STRANGE), lease("fd00::106", duid=TWO))
    renewed = ask(where.site, us(SYSTEM, Type.RENEW, ia(1, "fd00::105")))
    assert outcome(renewed) == "REPLY fd00::105"
    net = next(iter(where.site.topology))
    assert (net.pool.of(PORT), net.pool.of(by_association(association_of(STRANGE, b"\0\0\0\1")))) == (
        net.pool.by_ip[ip("fd00::105")],
        None,
    )
    assert acquire(where.site, SYSTEM) == "fd00::105"
    assert acquire(where.site, Says(TWO), OTHER_MAC) == "fd00::106"


def test_nobody_else_is_given_it() -> None:
    where = here(pools=("fd00::105-fd00::106",))
    where.take(lease(duid=STRANGE))
    assert acquire(where.site, OS) == "fd00::106"
    found = ask(where.site, us(Says(STRANGE), Type.RENEW, ia(2, "fd00::105")), direct(OTHER_MAC))
    assert outcome(found) == "REPLY status 3"


def test_firmware_and_system_that_had_an_address_each_have_their_own() -> None:
    where = here()
    where.take(lease("fd00::101", duid=OVMF_DUID), lease(duid=STRANGE))
    assert acquire(where.site, FIRMWARE) == "fd00::101"
    assert outcome(ask(where.site, SYSTEM.message(Type.REBIND, ia(1, "fd00::105")))) == "REPLY fd00::105"


def test_two_ports_with_one_duid_have_their_own() -> None:
    where = here()
    where.take(lease(iaid=1), lease("fd00::106", iaid=2))
    assert given(
        ask(where.site, OS.message(Type.REQUEST, ia(2, "fd00::106"), server=SERVER_DUID), direct(OTHER_MAC))
    ) == [["fd00::106"]]
    assert acquire(where.site, OS) == "fd00::105"


def test_what_it_gives_up_is_free() -> None:
    where = here()
    where.take(lease(duid=STRANGE))
    ask(where.site, us(SYSTEM, Type.RELEASE, ia(1, "fd00::105")))
    assert not where.site.topology.leases()[0].active(NOW)
