"""OpenIPMI's VM protocol: the guest's side of the board."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioner.lab.ipmi.guest import Decoder, encode_request, encode_response
from provisioner.lab.ipmi.message import Request, Response

BYTE = st.integers(0, 255)
requests = st.builds(
    Request, st.integers(0, 63), BYTE, st.binary(max_size=200), sequence=BYTE, responder_lun=st.integers(0, 3)
)

READ = {
    "QEMU's greeting is read over": ("ff01a1 0805a1", []),
    "get device id": ("07 18 01 e0 a0", [Request(6, 1, sequence=7)]),
    "a damaged message is left out, the next is read": ("07 18 01 e1 a0 07 18 01 e0 a0", [Request(6, 1, sequence=7)]),
    "a message that is too short": ("07 a0", []),
    "marker bytes are escaped": ("aab0 18 01 47 a0", [Request(6, 1, sequence=0xA0)]),
}


@pytest.mark.parametrize(("data", "wanted"), READ.values(), ids=READ.keys())
def test_read(data: str, wanted: list[Request]) -> None:
    assert Decoder().feed(bytes.fromhex(data)) == wanted


@hypothesis.given(st.lists(requests, max_size=3), st.integers(1, 7))
def test_requests_are_read_again_however_they_are_cut(sent: list[Request], size: int) -> None:
    data = b"".join(encode_request(request) for request in sent)
    decoder = Decoder()
    found = [one for at in range(0, len(data), size) for one in decoder.feed(data[at : at + size])]
    assert found == sent


@hypothesis.given(st.binary(max_size=2000))
def test_any_bytes_are_survived(data: bytes) -> None:
    Decoder().feed(data)


def test_a_response_ends_with_the_marker_and_escapes_others() -> None:
    request = Request(6, 1, sequence=9)
    assert encode_response(request, Response(0, b"\xa0")).hex() == "091c0100aab03aa0"
