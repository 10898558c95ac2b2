"""A simulated board's answers to searches of SSDP; the daemon's reader takes them."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from provisioner.bmc import ssdp
from provisioner.lab.redfish.announce import answer

UUID, URL = "00000077-0000-4000-8000-000000000017", "https://127.0.0.1:443/redfish/v1/"


def search(**fields: str) -> bytes:
    """A search, some of its fields changed."""
    known = {"HOST": "239.255.255.250:1900", "MAN": '"ssdp:discover"', "MX": "1", "ST": ssdp.TARGET} | fields
    lines = ["M-SEARCH * HTTP/1.1", *(f"{name}: {value}" for name, value in known.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


ANSWERED = {
    "the daemon's own search": ssdp.search(),
    "another minor version": search(ST=f"{ssdp.TARGET}:9"),
    "a search for everything": search(ST="ssdp:all"),
}
SILENT = {
    "another service": search(ST="urn:schemas-upnp-org:device:Printer:1"),
    "not a search": b"NOTIFY * HTTP/1.1\r\n\r\n",
    "no MAN": search(MAN=""),
    "nothing": b"",
}


@pytest.mark.parametrize("asked", ANSWERED.values(), ids=ANSWERED.keys())
def test_answered(asked: bytes) -> None:
    found = ssdp.read_answer(answer(asked, UUID, URL), "127.0.0.1")
    assert (found.host, found.port, found.uuid) == ("127.0.0.1", 443, UUID)


@pytest.mark.parametrize("asked", SILENT.values(), ids=SILENT.keys())
def test_silent(asked: bytes) -> None:
    assert answer(asked, UUID, URL) == b""


@hypothesis.given(st.binary(max_size=300))
def test_any_bytes(asked: bytes) -> None:
    assert answer(asked, UUID, URL) == b"" or asked.startswith(b"M-SEARCH")
