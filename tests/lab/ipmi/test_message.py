"""IPMI messages over LAN."""

from __future__ import annotations

import contextlib

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioner.errors import WireError
from provisioner.lab.ipmi.message import Request, Response, checksum, decode_request, encode_request, encode_response

BYTE = st.integers(0, 255)
requests = st.builds(
    Request, st.integers(0, 63), BYTE, st.binary(max_size=200), st.integers(0, 63), BYTE, st.integers(0, 3), BYTE,
    st.integers(0, 3),
)  # fmt: skip


@hypothesis.given(requests)
def test_a_request_is_read_again(request: Request) -> None:
    assert decode_request(encode_request(request)) == request


@hypothesis.given(st.binary(max_size=64))
def test_any_bytes_are_a_request_or_a_wire_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(decode_request(data), Request)


def test_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(WireError, match="checksum"):
        decode_request(bytes.fromhex("2018c98100388e04b5"))


@hypothesis.given(requests, BYTE, st.binary(max_size=64))
def test_a_response_turns_the_addresses_round(request: Request, code: int, data: bytes) -> None:
    found = encode_response(request, Response(code, data))
    assert (found[0], found[3]) == (request.requester, request.responder)
    assert found[1] >> 2 == request.netfn | 1
    assert found[5:8] == bytes((request.command, code)) + data[:1] or not data
    assert checksum(found[:2]) == found[2]
    assert checksum(found[3:-1]) == found[-1]
