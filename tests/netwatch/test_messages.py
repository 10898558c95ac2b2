"""What the daemon and netwatch say to each other: round trips, bounds, any bytes."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import WireError
from provisioner.netwatch.messages import (
    MAX_BYTES,
    MAX_DUID,
    MAX_EARS,
    Ask,
    Asked,
    Deaf,
    Heard,
    Heard6,
    Kind,
    Listen,
    Look,
    Looked,
    Ready,
    Report,
    Request,
    Tally,
    decode_report,
    decode_request,
    encode,
)

REQUESTS: tuple[Request, ...] = (
    Listen(*[tuple(f"interface-{n:05}" for n in range(MAX_EARS))] * 2),
    Listen(()),
    Look(1 << 60, "eth0", 0xFFFFFFFF, 1),
    Ask("eth0"),
)
REPORTS: tuple[Report, ...] = (
    Ready(),
    Looked(7, "52:54:00:00:00:01"),
    Heard("eth0", Kind.NAK, 1, b"123456", b"1" * 16, 0, asked=True),
    Heard6("eth0", Kind.REPLY, bytes(16), b"123456", asked=True, duid=bytes(MAX_DUID)),
    Deaf("eth0", "x" * 200, six=True),
    Asked("eth0", six=True),
    Tally(1, 2),
)


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: type(message).__name__)
def test_requests_arrive_as_they_were_sent(message: Request) -> None:
    assert decode_request(encode(message)) == message
    assert len(encode(message)) <= MAX_BYTES


@pytest.mark.parametrize("message", REPORTS, ids=lambda message: type(message).__name__)
def test_reports_arrive_as_they_were_sent(message: Report) -> None:
    assert decode_report(encode(message)) == message


TOO_MUCH = {
    "an interface's name": Ask("x" * 16),
    "interfaces": Listen(("eth0",) * (MAX_EARS + 1)),
    "an address": Look(1, "eth0", 1 << 32),
    "a negative address": Look(1, "eth0", -1),
}


@pytest.mark.parametrize("message", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_what_is_too_large_is_refused(message: Request) -> None:
    with pytest.raises(WireError, match="not a message of netwatch"):
        decode_request(encode(message))


def test_a_report_that_is_too_long_is_refused() -> None:
    with pytest.raises(WireError, match="not a message"):
        decode_report(encode(Looked(1, "x" * 201)))
    with pytest.raises(WireError, match="at most 8192"):
        decode_report(bytes(MAX_BYTES + 1))


@given(
    st.binary(max_size=200)
    | st.builds(msgspec.msgpack.encode, st.dictionaries(st.text(max_size=9), st.integers(-9, 1 << 40)))
)
def test_any_bytes(data: bytes) -> None:
    for decode in (decode_request, decode_report):
        with contextlib.suppress(WireError):
            decode(data)
