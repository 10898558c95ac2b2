"""Settings of DHCP come as JSON, and are read by the rules of the configuration file."""

from __future__ import annotations

import aiohttp
import pytest

from tests.dhcp.clients import MAC
from tests.web.dhcp import Desk
from tests.web.test_api import call

BODIES: dict[str, tuple[bytes, int, str]] = {
    # what is JSON is read, also where it is not YAML
    "tabs": (b'{\n\t"address":\t"10.0.0.50"\n}', 200, "10.0.0.50"),
    "a pair of surrogates": (b'{"address": "10.0.0.50", "name": "a\\ud83d\\ude00"}', 422, "name: "),
    "not UTF-8": (b'{"address": "\xff"}', 400, "the body is not JSON"),
    "a number of thousands of digits": (b'{"lease_s": %s}' % (b"1" * 5000), 400, "integer value out of range"),
}


@pytest.mark.parametrize(("body", "status", "text"), BODIES.values(), ids=BODIES.keys())
async def test_a_body_is_json(desk: Desk, body: bytes, status: int, text: str) -> None:
    connector = aiohttp.UnixConnector(str(desk.socket))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as api:
        got, said, _ = await call(api, "PUT", f"/v1/dhcp/reservations/{MAC}", data=body)
    assert (got, text in str(said)) == (status, True), said
