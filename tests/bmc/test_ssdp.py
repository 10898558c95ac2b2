"""SSDP as bytes: what is asked, and which answers are believed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.bmc.ssdp import Announced, read_answer, search
from provisioner.errors import WireError

UUID = "92384634-2938-2342-8820-489239905423"
ANSWER = (
    "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nST: urn:dmtf-org:service:redfish-rest:1:9\r\n"
    f"USN: uuid:{UUID}::urn:dmtf-org:service:redfish-rest:1:9\r\n"
    "AL: https://192.0.2.17/redfish/v1/\r\nEXT:\r\n\r\n"
)


def test_search() -> None:
    assert search(3).decode().splitlines() == [
        "M-SEARCH * HTTP/1.1",
        "HOST: 239.255.255.250:1900",
        'MAN: "ssdp:discover"',
        "MX: 3",
        "ST: urn:dmtf-org:service:redfish-rest:1",
        "",
    ]
    assert b"MX: 5" in search(99)


def test_answer() -> None:
    assert read_answer(ANSWER.encode(), "192.0.2.17") == Announced("192.0.2.17", 443, UUID)
    other = ANSWER.replace("192.0.2.17/", "[fd00::17]:8443/").replace("uuid:", "serial:")
    assert read_answer(other.encode(), "fd00::17") == Announced("fd00::17", 8443, "")


WRONG = {
    "points to somebody else": (ANSWER, "192.0.2.66", "announces a service at"),
    "no TLS": (ANSWER.replace("https", "http"), "192.0.2.17", "without TLS"),
    "a name where an address belongs": (ANSWER.replace("192.0.2.17", "bmc"), "192.0.2.17", "not the address"),
    "another service": (ANSWER.replace("redfish-rest", "printer"), "192.0.2.17", "another service"),
    "a search, not an answer": ("M-SEARCH * HTTP/1.1\r\n\r\n", "192.0.2.17", "not an answer"),
    "nothing": ("", "192.0.2.17", "not an answer"),
}


@pytest.mark.parametrize(("text", "sender", "fault"), WRONG.values(), ids=WRONG.keys())
def test_what_is_not_believed(text: str, sender: str, fault: str) -> None:
    with pytest.raises(WireError, match=fault):
        read_answer(text.encode(), sender)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for head in (b"", ANSWER.encode()[:60]):
        with contextlib.suppress(WireError):
            read_answer(head + data, "192.0.2.17")
