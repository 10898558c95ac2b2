"""The BMC's own network, clock and certificate."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from provisioner.bmc.redfish.client import RedfishClient
from provisioner.bmc.redfish.driver import Redfish
from provisioner.bmc.redfish.manager import pem_fingerprint
from provisioner.errors import BmcError, BmcProtocolError, BmcUnsupported, BmcWrongState, ConfigError
from provisioner.model.board import BmcNetwork, TimeSync
from tests.bmc.peers import write_certificate
from tests.bmc.redfish.service import PASSWORD, Script, Service, complains, hangs_up, says

MANAGER = "/redfish/v1/Managers/1"
PORTS = f"{MANAGER}/EthernetInterfaces"
NET = f"{MANAGER}/NetworkProtocol"


@pytest.fixture(autouse=True)
def with_manager(board: Service) -> None:
    board.resources[MANAGER] |= {
        "EthernetInterfaces": {"@odata.id": PORTS},
        "NetworkProtocol": {"@odata.id": NET},
    }
    board.resources[PORTS] = {"Members": [{"@odata.id": f"{PORTS}/0"}, {"@odata.id": f"{PORTS}/1"}]}
    board.resources[f"{PORTS}/0"] = {"MACAddress": "52:54:00:00:00:0F", "InterfaceEnabled": False}
    board.resources[f"{PORTS}/1"] = {
        "MACAddress": "52:54:00:00:00:0A",
        "HostName": "bmc17",
        "DHCPv4": {"DHCPEnabled": True},
        "IPv4Addresses": [{"Address": "192.0.2.17", "SubnetMask": "255.255.255.0", "Gateway": "192.0.2.1"}],
        "NameServers": ["192.0.2.53"],
        "VLAN": {"VLANEnable": True, "VLANId": 7},
    }
    board.resources[NET] = {"NTP": {"ProtocolEnabled": False, "NTPServers": ["", ""]}}


async def test_network_is_the_port_in_use(bmc: Redfish) -> None:
    assert await bmc.network() == BmcNetwork(
        "52:54:00:00:00:0a", True, "192.0.2.17", 24, "192.0.2.1", "bmc17", ("192.0.2.53",), 7
    )


FIXED = {"Address": "192.0.2.17", "SubnetMask": "255.255.255.0", "Gateway": "192.0.2.1"}
CHANGES: dict[str, tuple[BmcNetwork, dict[str, Any]]] = {
    "nothing": (BmcNetwork(), {}),
    "as it is": (BmcNetwork(dhcp=True, hostname="bmc17", vlan=7), {}),
    "a name": (BmcNetwork(hostname="bmc18"), {"HostName": "bmc18"}),
    "a fixed address": (
        BmcNetwork(dhcp=False, address="192.0.2.18", prefix=26, gateway="192.0.2.1"),
        {
            "DHCPv4": {"DHCPEnabled": False},
            "IPv4StaticAddresses": [{"Address": "192.0.2.18", "SubnetMask": "255.255.255.192", "Gateway": "192.0.2.1"}],
        },
    ),
    "an address alone: mask and gateway stay": (
        BmcNetwork(address="192.0.2.18"),
        {"IPv4StaticAddresses": [FIXED | {"Address": "192.0.2.18"}]},
    ),
    "a gateway alone": (
        BmcNetwork(gateway="192.0.2.254"),
        {"IPv4StaticAddresses": [FIXED | {"Gateway": "192.0.2.254"}]},
    ),
    "a prefix alone": (BmcNetwork(prefix=16), {"IPv4StaticAddresses": [FIXED | {"SubnetMask": "255.255.0.0"}]}),
    "the address that DHCP gave, for good": (
        BmcNetwork(dhcp=False),
        {"DHCPv4": {"DHCPEnabled": False}, "IPv4StaticAddresses": [FIXED]},
    ),
    "name servers and no VLAN": (
        BmcNetwork(dns=("192.0.2.54",), vlan=0),
        {"StaticNameServers": ["192.0.2.54"], "VLAN": {"VLANEnable": False, "VLANId": 0}},
    ),
}


@pytest.mark.parametrize(("wanted", "body"), CHANGES.values(), ids=CHANGES.keys())
async def test_only_what_differs_is_written(
    board: Service, bmc: Redfish, wanted: BmcNetwork, body: dict[str, Any]
) -> None:
    await bmc.set_network(wanted)
    assert board.bodies == ([body] if body else [])


async def test_a_new_address_is_not_set_without_a_mask(board: Service, bmc: Redfish) -> None:
    board.resources[f"{PORTS}/1"] = {"MACAddress": "52:54:00:00:00:0A", "DHCPv4": {"DHCPEnabled": True}}
    for wanted in (BmcNetwork(address="192.0.2.18"), BmcNetwork(gateway="192.0.2.1"), BmcNetwork(dhcp=False)):
        with pytest.raises(BmcWrongState, match="shows no address and prefix that could stay: give both"):
            await bmc.set_network(wanted)
    assert board.bodies == []
    await bmc.set_network(BmcNetwork(address="192.0.2.18", prefix=24))
    assert board.bodies == [{"IPv4StaticAddresses": [{"Address": "192.0.2.18", "SubnetMask": "255.255.255.0"}]}]


async def test_a_port_that_tells_little(board: Service, bmc: Redfish) -> None:
    board.resources[f"{PORTS}/1"] = {
        "MACAddress": "52:54:00:00:00:0A",
        "IPv4Addresses": [{"AddressOrigin": "Static", "SubnetMask": "x"}],
    }
    assert await bmc.network() == BmcNetwork("52:54:00:00:00:0a", dhcp=False)
    board.resources[PORTS] = {"Members": []}
    with pytest.raises(BmcUnsupported, match="no network port"):
        await bmc.network()


async def test_time(board: Service, bmc: Redfish) -> None:
    assert await bmc.time_sync() == TimeSync(False, ("", ""))
    await bmc.set_time_sync(TimeSync(True, ("192.0.2.123",)))
    assert await bmc.time_sync() == TimeSync(True, ("192.0.2.123",))
    board.next(f"PATCH {NET}", says(204))
    with pytest.raises(BmcProtocolError, match=r"reads back 192\.0\.2\.123"):
        await bmc.set_time_sync(TimeSync(True, ("192.0.2.124",)))


SERVICE = "/redfish/v1/CertificateService"
CERTIFICATES = f"{NET}/HTTPS/Certificates"


@pytest.fixture
def with_certificates(board: Service) -> None:
    board.resources["/redfish/v1/"]["CertificateService"] = {"@odata.id": SERVICE}
    board.resources[SERVICE] = {
        "Actions": {
            "#CertificateService.GenerateCSR": {"target": f"{SERVICE}/CSR"},
            "#CertificateService.ReplaceCertificate": {"target": f"{SERVICE}/Replace"},
        }
    }
    board.resources[NET]["HTTPS"] = {"Certificates": {"@odata.id": CERTIFICATES}}
    board.resources[CERTIFICATES] = {"Members": [{"@odata.id": f"{CERTIFICATES}/1"}]}
    board.resources[f"{CERTIFICATES}/1"] = {"CertificateString": "-----BEGIN CERTIFICATE-----"}


@pytest.mark.usefixtures("with_certificates")
async def test_certificate_request(board: Service, bmc: Redfish) -> None:
    from aiohttp import web

    request = "-----BEGIN CERTIFICATE REQUEST-----"
    board.actions[f"{SERVICE}/CSR"] = lambda _: web.json_response({"CSRString": request})
    assert await bmc.request_certificate(("bmc17.example.net", "bmc17")) == request
    assert board.bodies[-1]["CommonName"] == "bmc17.example.net"
    assert (await bmc.certificate()).startswith("-----BEGIN CERTIFICATE")
    board.actions[f"{SERVICE}/CSR"] = lambda _: None
    with pytest.raises(BmcProtocolError):
        await bmc.request_certificate(("x",))
    with pytest.raises(ConfigError, match="names: none"):
        await bmc.request_certificate(())


REPLACED: dict[str, tuple[Script | None, type[BmcError] | None]] = {
    # what the service answers (None: that it was done), and how the verb ends
    "done": (None, None),
    "its web server starts anew before it answers": (hangs_up, None),
    "refused": (complains(400, "Base.1.8.PropertyValueIncorrect"), BmcUnsupported),
}


@pytest.mark.usefixtures("with_certificates")
@pytest.mark.parametrize(("script", "error"), REPLACED.values(), ids=REPLACED.keys())
async def test_replace_certificate_until_it_is_shown(
    board: Service, tmp_path: Path, script: Script | None, error: type[BmcError] | None
) -> None:
    """The service here shows the certificate that it already has: what is asked for is what is seen."""
    told: list[str] = []

    async def installed(fingerprint: str) -> None:
        told.append(fingerprint)

    pem = await asyncio.to_thread((tmp_path / "bmc.pem").read_text)
    board.actions[f"{SERVICE}/Replace"] = lambda _: None
    bmc = Redfish(RedfishClient(board.address, PASSWORD), installed=installed)
    if script is not None:
        board.next(f"POST {SERVICE}/Replace", script)
    with contextlib.nullcontext() if error is None else pytest.raises(error):
        await bmc.replace_certificate(pem)
    await bmc.close()
    assert told == ([] if error else [board.address.fingerprint])
    assert script or board.bodies[-1]["CertificateType"] == "PEM"


def test_what_is_no_certificate(tmp_path: Path) -> None:
    certificate, _ = write_certificate(tmp_path)
    assert len(pem_fingerprint(certificate.read_text())) == 64
    with pytest.raises(ConfigError):
        pem_fingerprint("hello")


async def test_no_certificates(bmc: Redfish) -> None:
    with pytest.raises(BmcUnsupported, match="names no certificates"):
        await bmc.certificate()
