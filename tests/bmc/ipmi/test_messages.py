"""Frames between daemon and worker: round trip, any bytes, and no password in sight."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.bmc.ipmi import messages
from provisioner.errors import WireError

TARGET = messages.Target("192.0.2.1", 623, "admin", "hunter2")
MESSAGES = (
    messages.Command(1, TARGET, 0, 1),
    messages.Command(2, TARGET, 0, 2, b"\x03", repeat=False, timeout_s=5.0),
    messages.Forget(3, TARGET),
    messages.OpenConsole(6, TARGET, take_over=True),
    messages.Keys(6, b"x", brk=True),
    messages.CloseConsole(6),
    messages.Output(6, b"login: "),
    messages.Answer(4, 0xD4, b"\x01\x02"),
    messages.Failed(5, messages.Trouble.AUTH, "Incorrect password"),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_round_trip(message: messages.Request | messages.Reply) -> None:
    octets = messages.frame(message)
    head, body = octets[: messages.LENGTH_SIZE], octets[messages.LENGTH_SIZE :]
    assert messages.frame_size(head) == len(body)
    asked = isinstance(message, messages.Request)
    decode = messages.decode_request if asked else messages.decode_reply
    assert decode(body) == message


@given(st.binary(max_size=64))
def test_any_bytes(body: bytes) -> None:
    for decode in (messages.decode_request, messages.decode_reply):
        with contextlib.suppress(WireError):
            decode(body)


def test_a_frame_has_a_bound() -> None:
    with pytest.raises(WireError, match="at most"):
        messages.frame_size((messages.MAX_FRAME + 1).to_bytes(4, "big"))


LONG = [messages.EventRow(number, "x" * 300, "2026-01-01T00:00:00", 0, "Memory") for number in range(4096)]
PARTS = [messages.PartRow(f"FRU {number}", {f"extra {at}": "x" * 63 for at in range(900)}) for number in range(16)]
ROWS: dict[str, tuple[list[messages.Row], bool, bool]] = {
    # what was found, whether the newest count, and whether a frame holds all of it
    "nothing": ([], False, True),
    "a few": (LONG[:3], True, True),
    "a log of long entries: the newest of them": (LONG, True, False),
    "parts of sixteen full records: the first of them": (PARTS, False, False),
    "one that fits in no frame": ([messages.PartRow("FRU 0", {"x": "x" * messages.MAX_FRAME})], False, False),
}


@pytest.mark.parametrize(("found", "newest", "whole"), ROWS.values(), ids=ROWS.keys())
def test_rows_fit_in_a_frame(found: list[messages.Row], newest: bool, whole: bool) -> None:
    reply = messages.rows(1 << 40, found, newest=newest)
    octets = messages.frame(reply)
    assert messages.frame_size(octets[: messages.LENGTH_SIZE]) <= messages.MAX_FRAME
    assert messages.decode_reply(octets[messages.LENGTH_SIZE :]) == reply
    kept = len(reply.rows)
    assert (kept == len(found)) is whole
    assert reply.rows == (found[len(found) - kept :] if newest else found[:kept])
    if not whole and len(found) > 1:
        assert len(octets) > messages.MAX_FRAME * 0.9, "as many as fit"


def test_no_repr_shows_the_password() -> None:
    assert "hunter2" not in repr(MESSAGES)
    assert "admin@192.0.2.1" in repr(TARGET)
