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


def test_no_repr_shows_the_password() -> None:
    assert "hunter2" not in repr(MESSAGES)
    assert "admin@192.0.2.1" in repr(TARGET)
