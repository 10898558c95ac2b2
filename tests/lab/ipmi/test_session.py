"""Handshakes, sessions, what is refused, and what a flood may cost."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioner.lab.board import Role
from provisioner.lab.chassis import Verb
from provisioner.lab.ipmi import packet
from provisioner.lab.ipmi.crypto import SUITE_3, SUITE_17, SUITES, Suite
from provisioner.lab.ipmi.message import Code, Request, Response, encode_request
from provisioner.lab.ipmi.packet import Payload, Plain
from provisioner.lab.ipmi.session import IDLE_S, SESSIONS, Lan, Status
from tests.lab.boards import Rig
from tests.lab.ipmi.console import CONSOLE_ID, Console, Random, exchange, open_request, plus

ON = Request(0x00, 0x02, b"\x01", 5)
SUITE_0 = Suite(0, 0, 0, 0, "sha1", 12)


def lan() -> Lan:
    return Lan(Rig().board, Random())


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"suite {suite.number}")
def test_a_session_opens_answers_and_closes(suite: Suite) -> None:
    console = Console(lan())
    assert console.log_in(suite=suite) == Status.OK
    assert console.ask(0x06, 0x01).data[:2] == b"\x20\x81"
    assert console.ask(0x06, 0x3C, console.bmc_id) == Response(Code.OK)
    assert console.lan.sessions == 0


REFUSED: dict[str, tuple[dict[str, object], int]] = {
    "a wrong password": ({"password": "wrong"}, Status.BAD_CODE),
    "an unknown user": ({"user": "nobody"}, Status.NO_USER),
    "the anonymous user": ({"user": ""}, Status.NO_USER),
    "cipher suite 0": ({"suite": SUITE_0}, Status.NO_SUITE),
    "a role that does not exist": ({"role": 7}, Status.BAD_ROLE),
}


@pytest.mark.parametrize(("login", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_logins(login: dict[str, object], status: int) -> None:
    board = lan()
    assert Console(board).log_in(**login) == status  # type: ignore[arg-type]
    assert board.sessions == 0


def test_an_operator_gets_no_more_than_that() -> None:
    board = lan()
    board.board.accounts.change(3, name="op", password="op-password-1", role=Role.OPERATOR, enabled=True)
    console = Console(board)
    assert console.log_in(user="op", password="op-password-1", role=Role.ADMINISTRATOR) == Status.BAD_ROLE
    assert console.log_in(user="op", password="op-password-1", role=Role.OPERATOR) == Status.OK
    assert console.ask(0x00, 0x02, b"\x01").code == Code.PRIVILEGE, "a session begins as user"
    assert console.ask(0x06, 0x3B, b"\x03") == Response(0, b"\x03")
    assert console.ask(0x00, 0x02, b"\x01", sequence=2).code == Code.OK
    assert console.ask(0x06, 0x3B, b"\x04").code == 0x81


def test_no_proposal_leaves_the_choice_to_the_board() -> None:
    wildcards = b"".join(bytes((kind, 0, 0, 0, 0, 0, 0, 0)) for kind in range(3))
    request = packet.encode_plus(Payload.OPEN_REQUEST, bytes(4) + CONSOLE_ID + wildcards)
    assert plus(exchange(lan(), request)).payload[16] == SUITE_17.authentication


def test_before_a_session_only_what_the_specification_allows_is_answered() -> None:
    board = lan()
    asked = {0x38: b"\x8e\x04", 0x54: b"\x0e\x00\x80", 0x37: b""}
    for command, data in asked.items():
        answer = packet.decode(
            exchange(board, packet.encode_plain(Plain(encode_request(Request(6, command, data)))))[0]
        )
        assert isinstance(answer, Plain)
        assert answer.payload[6] == Code.OK
    answer = packet.decode(exchange(board, packet.encode_plain(Plain(encode_request(ON))))[0])
    assert isinstance(answer, Plain)
    assert answer.payload[6] == Code.PRIVILEGE


def test_a_replayed_packet_is_dropped() -> None:
    console = Console(lan())
    console.log_in()
    sealed = console.seal(Request(6, 1), sequence=9)
    assert len(exchange(console.lan, sealed)) == 1
    assert exchange(console.lan, sealed) == []
    assert console.lan.rejected == 1


def test_a_power_verb_whose_answer_was_lost_is_done_once() -> None:
    rig = Rig()
    console = Console(Lan(rig.board, Random()))
    console.log_in()
    console.ask(0x06, 0x3B, b"\x04")
    first = console.ask(0x00, 0x02, b"\x01", sequence=5)
    assert console.ask(0x00, 0x02, b"\x01", sequence=5) == first
    assert rig.chassis.pending == [Verb.ON]
    console.ask(0x00, 0x02, b"\x01", sequence=6)
    assert rig.chassis.pending == [Verb.ON, Verb.ON]


def test_an_idle_session_is_closed() -> None:
    console = Console(lan())
    console.log_in(now=0.0)
    console.ask(0x06, 0x01, now=IDLE_S)
    assert exchange(console.lan, console.seal(Request(6, 1)), now=2 * IDLE_S + 1) == []
    assert console.lan.sessions == 0


def test_a_flood_of_handshakes_costs_the_oldest_and_no_session() -> None:
    board = lan()
    console = Console(board)
    console.log_in()
    first = plus(exchange(board, open_request(SUITE_3))).payload[8:12]
    for _ in range(SESSIONS):
        exchange(board, open_request(SUITE_3))
    late = packet.encode_plus(Payload.RAKP1, bytes(4) + first + bytes(16) + bytes((4, 0, 0, 5)) + b"admin")
    assert plus(exchange(board, late)).payload[1] == Status.BAD_SESSION
    assert console.ask(0x06, 0x01).code == Code.OK


def test_no_more_sessions_than_the_board_has() -> None:
    board = lan()
    assert {Console(board).log_in() for _ in range(SESSIONS)} == {Status.OK}
    assert Console(board).log_in() == Status.NO_RESOURCES


@hypothesis.given(st.binary(max_size=128) | st.binary(max_size=96).map(lambda rest: b"\x06\x00\xff\x07\x06" + rest))
def test_any_bytes_are_survived(data: bytes) -> None:
    exchange(lan(), data)


@hypothesis.given(st.sampled_from(list(Payload)), st.binary(max_size=64))
def test_any_payload_of_the_handshake_is_survived(kind: Payload, payload: bytes) -> None:
    exchange(lan(), packet.encode_plus(kind, payload))


def test_the_console_goes_to_one_session_and_keys_reach_the_guest() -> None:
    rig = Rig()
    board = Lan(rig.board, Random())
    first, second = Console(board), Console(board)
    for console in (first, second):
        console.log_in()
        console.ask(0x06, 0x3B, b"\x04")
    activate = b"\x01\x01\x00\x00\x00\x00"
    assert first.ask(0x06, 0x48, activate).code == Code.OK
    assert second.ask(0x06, 0x48, activate).code == Code.PAYLOAD_ACTIVE
    board.guest_printed(b"SeaBIOS", 1.0)
    kind, payload = first.opened(board.datagrams_to_send()[0][0])
    assert (kind, payload) == (Payload.SOL, b"\x01\x00\x00\x00SeaBIOS")
    acknowledged = exchange(board, first.seal_payload(Payload.SOL, b"\x01\x01\x07\x00root\r"), 1.1)
    assert first.opened(acknowledged[0]) == (Payload.SOL, b"\x00\x01\x05\x00")
    assert board.get_timer() is None
    assert first.ask(0x06, 0x49, activate).code == Code.OK
    assert not board.console_is_active


def test_a_console_that_says_nothing_is_given_up() -> None:
    console = Console(lan())
    console.log_in()
    console.ask(0x06, 0x3B, b"\x04")
    console.ask(0x06, 0x48, b"\x01\x01\x00\x00\x00\x00")
    console.lan.guest_printed(b"x", 0.0)
    while (due := console.lan.get_timer()) is not None:
        console.lan.handle_timer(due)
    assert not console.lan.console_is_active


def test_closing_the_session_frees_the_console() -> None:
    console = Console(lan())
    console.log_in()
    console.ask(0x06, 0x3B, b"\x04")
    console.ask(0x06, 0x48, b"\x01\x01\x00\x00\x00\x00")
    console.ask(0x06, 0x3C, console.bmc_id)
    assert not console.lan.console_is_active
