"""What the API says of the wires."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from provisioner.netwatch.rogues import How, Rogue
from provisioner.web.app import operator_app
from provisioner.web.metrics import CONTENT_TYPE, Kind, MetricsApi, single
from provisioner.web.network import NetworkApi
from provisioner.web.server import Server

ROGUE = Rogue("eth0", "10.0.0.66", How.ACK, 1_800_000_000.0, 1_800_000_060.5, "52:54:00:00:00:66")


class Watch:
    """A guard and a netwatch that saw something."""

    def __init__(self) -> None:
        self.fault = "it starts"
        self.deaf = {"eth1": "No such device"}

    def rogues(self) -> list[Rogue]:
        return [ROGUE]

    def fallen(self) -> dict[str, str]:
        return {"rack1": "10.0.0.66"}


async def test_what_is_seen_and_what_is_measured(tmp_path: Path) -> None:
    watch = Watch()
    metrics = MetricsApi(lambda: [single("a_up", Kind.GAUGE, "Up.", 1)])
    server = Server(operator_app((*NetworkApi(watch, watch).routes(), *metrics.routes())))
    await server.listen_unix(tmp_path / "api.sock")
    try:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "api.sock"))) as session:
            async with session.get("http://localhost/v1/network") as response:
                assert await response.json() == {
                    "rogues": [
                        {
                            "server": "10.0.0.66",
                            "mac": "52:54:00:00:00:66",
                            "place": "eth0",
                            "how": "gave an address",
                            "first": "2027-01-15T08:00:00.000Z",
                            "last": "2027-01-15T08:01:00.500Z",
                            "answers": False,
                        }
                    ],
                    "fallbacks": {"rack1": "10.0.0.66"},
                    "fault": "it starts",
                    "deaf": {"eth1": "No such device"},
                }
            async with session.get("http://localhost/metrics") as response:
                assert response.headers["Content-Type"] == CONTENT_TYPE
                assert (await response.text()).endswith("a_up 1\n")
            async with session.get("http://localhost/v1/network?of=eth0") as response:
                assert response.status == 400
    finally:
        await server.close()
