"""No reply is longer than its client takes: where options go on, and what is left out first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.dhcp.case import Reply
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import Packet
from tests.dhcp.clients import UEFI, ask, discover, request, said, site, subnet

MANY = {f"{code}": "x" * 60 for code in range(224, 234)}
ALL_OF_THEM = bytes((1, 3, 6, *range(224, 234)))


def test_too_many_options_go_on_in_the_header_fields() -> None:
    """Option overload: 10 options of 62 bytes into 548; five fit, one goes into sname, two into file."""
    found = ask(site(subnet(options=MANY)), discover(options={Opt.REQUEST_LIST: ALL_OF_THEM}))
    assert isinstance(found, Reply)
    assert len(found.data) <= 548
    reply = said(found)
    assert reply.options[Opt.OVERLOAD] == b"\3"
    told = [code for code in reply.options if code >= 224]
    assert len(told) == 7
    assert all(reply.options[code] == b"x" * 60 for code in told)


def test_a_client_with_room_gets_all_of_them() -> None:
    options = {Opt.REQUEST_LIST: ALL_OF_THEM, Opt.MAX_SIZE: (1472).to_bytes(2, "big")}
    reply = said(ask(site(subnet(options=MANY)), discover(options=options)))
    assert Opt.OVERLOAD not in reply.options
    assert [code for code in reply.options if code >= 224] == list(range(224, 234))


def test_the_file_name_is_not_overwritten_by_options() -> None:
    options = UEFI | {Opt.REQUEST_LIST: bytes((*ALL_OF_THEM, 66))}
    reply = said(ask(site(subnet(options=MANY)), discover(options=options)))
    assert reply.options[Opt.OVERLOAD] == b"\2"
    assert reply.file.rstrip(b"\0") == b"snponly.efi"


def test_a_long_option_is_split() -> None:
    """RFC 3396."""
    long = {Opt.REQUEST_LIST: b"\xe0", Opt.MAX_SIZE: b"\5\xc0"}
    reply = said(ask(site(subnet(options={"224": "y" * 400})), discover(options=long)))
    assert reply.options[224] == b"y" * 400


def test_a_relays_information_stays_whatever_is_dropped() -> None:
    info = b"\1\xf0" + bytes(240)
    options = {Opt.REQUEST_LIST: ALL_OF_THEM, Opt.RELAY_AGENT: info}
    found = ask(site(subnet(options=MANY)), discover(options=options, giaddr="10.0.0.254"))
    assert isinstance(found, Reply)
    assert len(found.data) <= 548
    assert said(found).options[Opt.RELAY_AGENT] == info


INFO, LONG_ID, UUID = b"\1\xc6" + bytes(198), b"\0" + bytes(254), b"\0" + bytes(range(16))
LARGE: dict[str, tuple[dict[int, bytes], set[int]]] = {
    "relay information before an identifier": ({82: INFO, 61: LONG_ID}, {82}),
    "relay information and UUID before an identifier": ({82: INFO, 97: UUID, 61: LONG_ID}, {82, 97}),
    "the identifier where that is all": ({61: LONG_ID}, {61}),
    "relay information that is too long is left out whole (RFC 3046 section 2.2)": (
        {82: bytes(400), 61: b"\0id"},
        {61},
    ),
    "rapid commit, whatever else": ({82: b"\1\xfd" + bytes(253), 97: UUID, 61: bytes(12), 80: b""}, {82, 97, 80}),
    "all where the client has room": ({82: INFO, 97: UUID, 61: LONG_ID, 57: b"\5\xc0"}, {82, 97, 61}),
}


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize(("sent", "kept"), LARGE.values(), ids=LARGE.keys())
def test_what_comes_back_as_it_came_is_left_out_before_the_client_gets_too_much(
    sent: dict[int, bytes], kept: set[int], refused: bool
) -> None:
    here = site(subnet(options=MANY, rapid_commit=True))
    options = UEFI | {Opt.REQUEST_LIST: ALL_OF_THEM} | sent
    question = request("10.9.9.9", options=options) if refused else discover(options=options, giaddr="10.0.0.254")
    found = ask(here, question)
    assert isinstance(found, Reply)
    assert len(found.data) <= (1472 if 57 in sent else 548)
    told = said(found).options
    assert {code: told[code] for code in told.keys() & {61, 97, 82, 80}} == {
        code: sent[code] for code in kept if not (refused and code == Opt.RAPID_COMMIT)
    }
    assert {Opt.MESSAGE_TYPE, Opt.SERVER_ID} <= told.keys()


@given(
    st.lists(st.integers(0, 255), max_size=40),
    st.integers(0, 1500),
    st.dictionaries(st.integers(224, 240).map(str), st.text("ab", min_size=1, max_size=300), max_size=12),
    st.binary(max_size=255),
    st.binary(max_size=253).map(lambda rest: bytes((151, len(rest))) + rest),
)
def test_no_reply_is_longer_than_the_client_takes(
    wanted: list[int], size: int, offered: dict[str, str], identifier: bytes, info: bytes
) -> None:
    asked = {Opt.REQUEST_LIST: bytes(wanted), Opt.MAX_SIZE: size.to_bytes(2, "big"), Opt.CLIENT_ID: identifier}
    asked[Opt.RELAY_AGENT] = info
    found = ask(site(subnet(options=offered)), discover(options=UEFI | asked))
    assert isinstance(found, Reply)
    assert len(found.data) <= max(548, min(size - 28, 1472))
    reply: Packet = said(found)
    assert reply.type == Type.OFFER
    assert {Opt.SERVER_ID, Opt.LEASE_TIME, Opt.RELAY_AGENT} <= reply.options.keys()
