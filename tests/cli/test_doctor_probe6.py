"""What `doctor` thinks of what DHCPv6 servers say."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from provisioner.cli.doctor_probe6 import BY_WHICH_RULE, Advert, advert_of, adverts_of
from provisioner.dhcp.subnets import Dhcp
from provisioner.dhcp.v6.message import Message, Type, encode
from provisioner.dhcp.v6.options import Ia, IaAddress, Opt, encode_address, encode_ia
from provisioner.dhcp.v6.subnets import Mode6, Subnet6
from provisioner.model.boot import Unknown

LAN = Subnet6(network="fd77::/64", interface="lan0", pools=("fd77::1000-fd77::10ff",))
OURS = Advert("fe80::1", "fd77::1000", "tftp://[fd77::1]/snponly.efi")
OTHER = Advert("fe80::2", "fd77::2000", "")
NONE = "lan0: an unknown machine gets no IPv6 address from us, as the configuration"
LOADS = "lan0: fe80::1 offers fd77::1000, to load tftp://[fd77::1]/snponly.efi"
ANOTHER = "lan0: another DHCPv6 server, fe80::2, offers fd77::2000"

JUDGED: dict[str, tuple[Subnet6, list[Advert], list[tuple[str, str]]]] = {
    "an address and a loader": (LAN, [OURS], [("ok", LOADS)]),
    "no answer": (LAN, [], [("FAIL", f"{NONE} says that it should")]),
    "an answer without an address": (LAN, [replace(OURS, ip="")], [("FAIL", f"{NONE} says that it should")]),
    "silence for strangers": (replace(LAN, unknown=Unknown.IGNORE), [], [("ok", f"{NONE} has it")]),
    "silence without a reservation": (replace(LAN, mode=Mode6.RESERVATIONS_ONLY), [], [("ok", f"{NONE} has it")]),
    "nothing to load": (
        LAN, [replace(OURS, url="")], [("FAIL", "lan0: fe80::1 offers fd77::1000, to load nothing")]),
    "nothing to load in quarantine": (
        replace(LAN, unknown=Unknown.QUARANTINE), [replace(OURS, url="")],
        [("ok", "lan0: fe80::1 offers fd77::1000, to load nothing")]),
    "another server beside us": (LAN, [OTHER, OURS], [("FAIL", ANOTHER), ("ok", LOADS)]),
    "another server alone, without addresses": (
        replace(LAN, unknown=Unknown.IGNORE), [replace(OTHER, ip="")],
        [("FAIL", "lan0: another DHCPv6 server, fe80::2, offers no address"), ("ok", f"{NONE} has it")]),
}  # fmt: skip


@pytest.mark.parametrize(("subnet", "adverts", "said"), JUDGED.values(), ids=JUDGED.keys())
def test_what_was_advertised_is_judged(subnet: Subnet6, adverts: list[Advert], said: list[tuple[str, str]]) -> None:
    found = list(adverts_of("lan0", adverts, {"fe80::1", "fd77::1"}, Dhcp(), subnet))
    assert [(str(finding.level), finding.text) for finding in found] == said
    assert all(finding.hint == BY_WHICH_RULE for finding in found if "another" not in finding.text)


def test_a_server_that_may_be_there_is_in_order() -> None:
    dhcp = Dhcp(allowed_servers=("fe80::2",))
    found = list(adverts_of("lan0", [OTHER, OURS], {"fe80::1"}, dhcp, LAN))
    assert [(str(finding.level), finding.text) for finding in found] == [("ok", f"{ANOTHER}, as it may"), ("ok", LOADS)]


GIVEN = encode_address(IaAddress(int(IPv6Address("fd77::1000")), 60, 60))
ADVERTISED = Message(
    Type.ADVERTISE,
    7,
    (encode_ia(Ia(Opt.IA_NA, b"iaid", options=(GIVEN,))), (Opt.BOOT_URL, OURS.url.encode())),
)
READ: dict[str, tuple[bytes, Advert | None]] = {
    "an address and a URL": (encode(ADVERTISED), OURS),
    "no address": (
        encode(ADVERTISED._replace(options=(encode_ia(Ia(Opt.IA_NA, b"iaid")),))), Advert("fe80::1", "", "")),
    "nothing at all": (encode(ADVERTISED._replace(options=())), Advert("fe80::1", "", "")),
    "an answer to another": (encode(ADVERTISED._replace(xid=8)), None),
    "another message": (encode(ADVERTISED._replace(type=Type.REPLY)), None),
    "an association that is cut off": (encode(ADVERTISED._replace(options=((Opt.IA_NA, b"iaid"),))), None),
    "no message": (b"\x02", None),
}  # fmt: skip


@pytest.mark.parametrize(("data", "advert"), READ.values(), ids=READ.keys())
def test_what_is_read_of_an_answer(data: bytes, advert: Advert | None) -> None:
    assert advert_of(data, 7, "fe80::1") == advert
