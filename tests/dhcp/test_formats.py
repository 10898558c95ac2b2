"""Values of options as an operator writes them."""

from __future__ import annotations

import pytest

from provisioner.dhcp.formats import option_value, route_value

ROUTES = {
    "default": (["default via 10.0.0.1"], "00 0a000001"),
    "a whole class A": (["10.0.0.0/8 via 10.0.0.1"], "08 0a 0a000001"),
    "a host": (["10.1.2.3/32 via 10.0.0.1"], "20 0a010203 0a000001"),
}


@pytest.mark.parametrize(("routes", "value"), ROUTES.values(), ids=ROUTES.keys())
def test_route_value(routes: list[str], value: str) -> None:
    assert route_value(routes) == bytes.fromhex(value)


VALUES = {
    "addresses": (42, "10.0.0.1, 10.0.0.2", bytes((10, 0, 0, 1, 10, 0, 0, 2))),
    "a number of two bytes": (26, "9000", b"\x23\x28"),
    "a number of four bytes": (211, "30", bytes((0, 0, 0, 30))),
    "a negative number": (2, "-3600", bytes.fromhex("fffff1f0")),
    "text": (209, "http://x/y", b"http://x/y"),
    "hex for any option": (42, "hex:0a000001", bytes((10, 0, 0, 1))),
    "an option without a format is text": (230, "abc", b"abc"),
    "domains": (119, "a.example, b.example.", b"\1a\7example\0\1b\7example\0"),
    "the longest domain": (119, "a." * 126 + "a.", b"\1a" * 127 + b"\0"),
    "routes": (121, "10.0.0.0/8 via 10.0.0.1, default via 10.0.0.2", bytes.fromhex("080a0a00000100 0a000002")),
}


@pytest.mark.parametrize(("code", "text", "value"), VALUES.values(), ids=VALUES.keys())
def test_values_as_an_operator_writes_them(code: int, text: str, value: bytes) -> None:
    assert option_value(code, text) == value
