"""The BMC's own network, clock and certificate by Redfish (DSP0268: EthernetInterface, ManagerNetworkProtocol,
CertificateService)."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from typing import Any

from provisioner.bmc.redfish.answers import Resource, read_body, text_at
from provisioner.bmc.redfish.board import Board
from provisioner.bmc.redfish.way import fingerprint
from provisioner.errors import BmcError, BmcProtocolError, BmcTimeout, BmcWrongState, ConfigError, WireError
from provisioner.model.board import BmcNetwork, TimeSync

CERTIFICATE_S = 120.0
"""A board that starts its web server anew is silent for up to a minute."""


class ManagerVerbs(Board):
    """What belongs to the BMC itself."""

    async def network(self) -> BmcNetwork:
        """Read the BMC's first port that is in use."""
        return _network(await self._port("network.read"))

    async def set_network(self, wanted: BmcNetwork) -> None:
        """Set what `wanted` gives. A new address may end this connection: what cannot be read back is not an error."""
        verb = "network.set"
        port = await self._port(verb)
        try:
            body = _port_body(_network(port), wanted)
        except WireError as error:
            raise BmcWrongState(f"{self.address}: {verb}: {error.message}", hint="nothing was done") from error
        if body:
            await self.patch(port, body)

    async def time_sync(self) -> TimeSync:
        """Read where the BMC takes the time from."""
        ntp = (await self._protocols("ntp.read")).table("NTP")
        return TimeSync(ntp.get("ProtocolEnabled") is True, Resource("", ntp).texts("NTPServers"))

    async def set_time_sync(self, wanted: TimeSync) -> None:
        """Set the time servers, and read them back."""
        verb = "ntp.set"
        protocols = await self._protocols(verb)
        body = {"NTP": {"ProtocolEnabled": wanted.enabled, "NTPServers": list(wanted.servers)}}
        await self.patch(protocols, body)
        got = await self.time_sync()
        servers = tuple(server for server in got.servers if server)  # boards fill up their list with ""
        if got.enabled is not wanted.enabled or servers != wanted.servers:
            held = ", ".join(servers) or "nothing"
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but it reads back {held}")

    # -- certificate ----------------------------------------------------------------------------------------------

    async def certificate(self) -> str:
        """Return the certificate of the web server, as PEM."""
        return (await self._certificate("certificate.read")).text("CertificateString")

    async def request_certificate(self, names: tuple[str, ...]) -> str:
        """Have the board make a key and a signing request; the key stays there."""
        verb = "certificate.request"
        if not names:
            raise ConfigError(f"{self.address}: {verb}: names: none", hint="the first is the one that it is called by")
        service = await self.child(verb, await self.root(), "CertificateService")
        body = {
            "CommonName": names[0],
            "AlternativeNames": list(names),
            "CertificateCollection": {"@odata.id": await self._certificates_path(verb)},
        }
        reply = await self.act(verb, service, "CertificateService.GenerateCSR", body)
        try:
            request = text_at(read_body(reply), "CSRString")
        except WireError as error:
            raise BmcProtocolError(f"{self.address}: {verb}: {error.message}") from error
        if "BEGIN CERTIFICATE REQUEST" not in request:
            raise BmcProtocolError(f"{self.address}: {verb}: the answer holds no signing request")
        return request

    async def replace_certificate(self, pem: str) -> None:
        """Install a certificate, and see the board show it: the pin of its address follows."""
        verb = "certificate.replace"
        wanted = pem_fingerprint(pem)
        service = await self.child(verb, await self.root(), "CertificateService")
        held = await self._certificate(verb)
        body: dict[str, Any] = {
            "CertificateString": pem,
            "CertificateType": "PEM",
            "CertificateUri": {"@odata.id": held.path},
        }
        with contextlib.suppress(BmcTimeout):  # its web server may start anew before it answers: what it shows says
            await self.act(verb, service, "CertificateService.ReplaceCertificate", body)
        await self._client.disconnect()

        async def is_shown() -> bool:
            try:
                return await fingerprint(self.address) == wanted
            except BmcError:
                return False

        await self.until(verb, is_shown, CERTIFICATE_S, "the web server does not show it")
        if self._installed is not None:
            await self._installed(wanted)

    async def _certificate(self, verb: str) -> Resource:
        listed = await self.each(await self._certificates_path(verb))
        if not listed:
            raise self.unsupported(verb, "the web server's list of certificates is empty")
        return listed[0]

    async def _certificates_path(self, verb: str) -> str:
        protocols = await self._protocols(verb)
        if not (path := protocols.link("HTTPS", "Certificates")):
            raise self.unsupported(verb, "the web server names no certificates")
        return path

    async def _protocols(self, verb: str) -> Resource:
        return await self.child(verb, await self.manager(verb), "NetworkProtocol")

    async def _port(self, verb: str) -> Resource:
        manager = await self.manager(verb)
        if not (path := manager.link("EthernetInterfaces")):
            raise self.unsupported(verb, "the manager names no network port")
        ports = [port for port in await self.each(path) if port.text("MACAddress")]
        if not ports:
            raise self.unsupported(verb, "the manager has no network port")
        return max(ports, key=lambda port: port.data.get("InterfaceEnabled") is not False)


def pem_fingerprint(pem: str) -> str:
    """Return the SHA-256 (hex) of a certificate in PEM; raise `ConfigError` where it is none."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()
    except ValueError as error:
        raise ConfigError(f"not a certificate in PEM: {error}") from error


def _network(port: Resource) -> BmcNetwork:
    first = next(iter(port.rows("IPv4Addresses")), Resource("", {}))
    dhcp = port.table("DHCPv4").get("DHCPEnabled")
    if not isinstance(dhcp, bool):
        dhcp = first.text("AddressOrigin") == "DHCP" if first.data else None
    vlan = port.table("VLAN")
    number = vlan.get("VLANId") if vlan.get("VLANEnable") is True else None
    return BmcNetwork(
        mac=port.text("MACAddress").lower(),
        dhcp=dhcp,
        address=first.text("Address"),
        prefix=_prefix(first.text("SubnetMask")),
        gateway=first.text("Gateway"),
        hostname=port.text("HostName"),
        dns=port.texts("NameServers"),
        vlan=number if isinstance(number, int) else None,
    )


def _port_body(held: BmcNetwork, wanted: BmcNetwork) -> dict[str, Any]:
    """Write what differs, and only that: each change of a BMC's network may cost the connection to it."""
    body: dict[str, Any] = {}
    if wanted.dhcp is not None and wanted.dhcp is not held.dhcp:
        body["DHCPv4"] = {"DHCPEnabled": wanted.dhcp}
    if static := _static(held, wanted):
        body["IPv4StaticAddresses"] = [static]
    if wanted.hostname and wanted.hostname != held.hostname:
        body["HostName"] = wanted.hostname
    if wanted.dns and wanted.dns != held.dns:
        body["StaticNameServers"] = list(wanted.dns)
    if wanted.vlan is not None and wanted.vlan != held.vlan:
        body["VLAN"] = {"VLANEnable": wanted.vlan > 0, "VLANId": wanted.vlan}
    return body


def _static(held: BmcNetwork, wanted: BmcNetwork) -> dict[str, str]:
    """Write the fixed address, whole: a board takes what is left out of it for none. Empty where it stays."""
    before = held.address, held.prefix, held.gateway
    address, prefix, gateway = (
        wanted.address or held.address, wanted.prefix or held.prefix, wanted.gateway or held.gateway,
    )  # fmt: skip
    is_fixed_now = wanted.dhcp is False and held.dhcp is True
    if (address, prefix, gateway) == before and not is_fixed_now:
        return {}
    if not address or not prefix:
        raise WireError("the BMC shows no address and prefix that could stay: give both")
    return {"Address": address, "SubnetMask": _mask(prefix)} | ({"Gateway": gateway} if gateway else {})


def _prefix(mask: str) -> int:
    """Count the bits of a dotted mask; 0 where it is none."""
    parts = mask.split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        return 0
    return sum(int(part).bit_count() for part in parts)


def _mask(prefix: int) -> str:
    number = (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF if 0 <= prefix <= 32 else 0
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
