"""What is fixed for machines and what subnets become, in the API: whichever is there first stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.dhcp.subnets import Dhcp, Mode, Overrides, PortRule, Reservation, Subnet
from provisioner.model.boot import Unknown
from tests.dhcp.clients import MAC, OTHER_MAC, subnet
from tests.web.dhcp import Desk
from tests.web.test_api import call
from tests.web.test_dhcp import session_of

STRANGERS: dict[str, Any] = {"unknown": Unknown.QUARANTINE, "quarantine_pools": ("10.0.0.200-10.0.0.209",)}


LATER: dict[str, tuple[dict[str, Any], str]] = {
    "that of strangers": ({**STRANGERS, "quarantine_pools": ["10.0.0.96/28"]}, "is in quarantine_pools"),
    "the router's": ({"unknown": "ignore", "router": ["10.0.0.99"]}, "is the subnet's router"),
}


@pytest.mark.parametrize(("settings", "why"), LATER.values(), ids=LATER.keys())
async def test_a_subnet_does_not_make_a_fixed_address(tmp_path: Path, settings: dict[str, Any], why: str) -> None:
    desk = await Desk(tmp_path).open()
    async with session_of(desk) as api:
        body = {"network": "10.0.0.0/24", "name": "rack1", **settings}
        status, problem, _ = await call(api, "PUT", "/v1/dhcp/subnets/rack1", json=body)
    assert (status, f"10.0.0.99 is reserved, and {why}" in str(problem)) == (422, True), problem
    await desk.close()


async def test_a_subnet_of_the_file_is_not_changed_back_over_what_was_reserved_since(tmp_path: Path) -> None:
    desk = await Desk(tmp_path, Dhcp(subnets=(subnet(name="rack1", interface="", **STRANGERS),))).open()
    async with session_of(desk) as api:
        reserve = ("PUT", f"/v1/dhcp/reservations/{MAC}")
        status, problem, _ = await call(api, *reserve, json={"address": "10.0.0.200"})
        assert (status, "10.0.0.200 is in quarantine_pools" in str(problem)) == (422, True)
        plain = {"network": "10.0.0.0/24", "name": "rack1", "unknown": "ignore"}
        assert (await call(api, "PUT", "/v1/dhcp/subnets/rack1", json=plain))[0] == 200
        assert (await call(api, *reserve, json={"address": "10.0.0.200"}))[0] == 200
        status, problem, _ = await call(api, "DELETE", "/v1/dhcp/subnets/rack1")
        assert (status, "10.0.0.200 is reserved, and is in quarantine_pools" in str(problem)) == (422, True)
        await call(api, "DELETE", f"/v1/dhcp/reservations/{MAC}")
        assert (await call(api, "DELETE", "/v1/dhcp/subnets/rack1"))[0] == 204
    await desk.close()


FILES: dict[str, tuple[Dhcp, str]] = {
    "has it for strangers": (
        Dhcp(subnets=(subnet(name="rack1", interface="", **STRANGERS),)),
        "10.0.0.200 is in quarantine_pools",
    ),
    "has it for another machine": (
        Dhcp(subnets=(subnet(name="rack1"),), reservations=(Reservation(mac=OTHER_MAC, address="10.0.0.200"),)),
        f"10.0.0.200 is reserved for {OTHER_MAC}",
    ),
    "has it for a switch port": (
        Dhcp(subnets=(subnet(name="rack1"),), ports=(PortRule(circuit_id="p1", address="10.0.0.200"),)),
        "10.0.0.200 is also that of ports[0]",
    ),
}


@pytest.mark.parametrize(("file", "why"), FILES.values(), ids=FILES.keys())
async def test_a_fixed_address_is_left_out_where_the_file_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: Dhcp, why: str
) -> None:
    desk = await Desk(tmp_path).open()
    async with session_of(desk) as api:
        await call(api, "PUT", f"/v1/dhcp/reservations/{MAC}", json={"address": "10.0.0.200"})
    await desk.close()
    again = await Desk(tmp_path, file).open()
    assert MAC not in [said.mac for said, _ in again.book.reservations("", 9)]
    assert f"dhcp.setting-unfit mac={MAC}" in caplog.text
    assert why in caplog.text
    await again.close()


async def test_a_subnet_does_not_come_beside_another_server_while_grub_is_fixed_there(tmp_path: Path) -> None:
    desk = await Desk(tmp_path).open()
    async with session_of(desk) as api:
        mac, path = "52:54:00:00:00:77", "/v1/dhcp/subnets/rack1"
        proxy = {"network": "10.0.0.0/24", "name": "rack1", "interface": "", "mode": "proxy"}
        await call(api, "PUT", f"/v1/dhcp/reservations/{mac}", json={"loader": {"efi-x64": "grubx64.efi"}})
        status, body, _ = await call(api, "PUT", path, json=proxy)
        why = f"reservation {mac}: loader: efi-x64: grubx64.efi does not work beside another DHCP server"
        assert (status, why in str(body)) == (422, True), body
        assert desk.server.subnets()[0].mode is Mode.AUTHORITATIVE
        await call(api, "PUT", f"/v1/dhcp/reservations/{mac}", json={"loader": {"efi-x64": "snponly.efi"}})
        assert (await call(api, "PUT", path, json=proxy))[0] == 200
    await desk.close()


async def test_nor_while_the_profile_of_a_switch_port_fixes_it(tmp_path: Path) -> None:
    other = Subnet(network="10.1.0.0/24", name="rack2")
    profiles = {"grub": Overrides(loader={"efi-x64": "grubx64.efi"})}
    ports = (PortRule(circuit_id="p1", address="10.0.0.200", profile="grub"),)
    desk = await Desk(
        tmp_path, Dhcp(subnets=(subnet(name="rack1", interface=""), other), profiles=profiles, ports=ports)
    ).open()
    async with session_of(desk) as api:
        proxy = {"network": "10.0.0.0/24", "name": "rack1", "interface": "", "mode": "proxy"}
        status, body, _ = await call(api, "PUT", "/v1/dhcp/subnets/rack1", json=proxy)
        why = "ports[0]: loader: efi-x64: grubx64.efi does not work beside another DHCP server"
        assert (status, why in str(body)) == (422, True), body
    await desk.close()
