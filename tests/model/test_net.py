"""Hardware addresses in one spelling, and whose prefix they have."""

from __future__ import annotations

import pytest

from provisioner.errors import ConfigError
from provisioner.model.net import Mac, mac_from_bytes, parse_mac, vendor_of

SPELLINGS = ["52:54:00:77:00:11", "52-54-00-77-00-11", "5254.0077.0011", "525400770011", " 52:54:00:77:00:11 "]


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_usual_spelling_is_read(text: str) -> None:
    assert parse_mac(text) == "52:54:00:77:00:11"


@pytest.mark.parametrize("text", ["", "52:54:00:77:00", "52:54:00:77:00:1g", "52:54:00:77:00:11:22"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a MAC address"):
        parse_mac(text)


def test_octets_of_a_packet_are_spelled() -> None:
    assert mac_from_bytes(bytes.fromhex("525400770011")) == "52:54:00:77:00:11"


def test_the_owner_of_a_prefix_is_named() -> None:
    assert "Intel" in (vendor_of(Mac("00:1b:21:00:00:01")) or "")
    assert vendor_of(Mac("52:54:00:77:00:11")) is None
