"""The BMC itself: its port, its protocols, its certificate (DSP0268: Manager, CertificateService). No I/O."""

from __future__ import annotations

import dataclasses
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provisioner.lab.board import Board
from provisioner.lab.redfish.answer import Answer, Body, Refusal
from provisioner.lab.redfish.resources import MANAGER, STATUS, V1, collection, identity_of, link, resource

PORT = f"{MANAGER}/EthernetInterfaces/1"
PROTOCOLS = f"{MANAGER}/NetworkProtocol"
CERTIFICATES = f"{PROTOCOLS}/HTTPS/Certificates"
CERTIFICATE = f"{CERTIFICATES}/1"
SERVICE = f"{V1}/CertificateService"
GENERATE = f"{SERVICE}/Actions/CertificateService.GenerateCSR"
REPLACE = f"{SERVICE}/Actions/CertificateService.ReplaceCertificate"
LOCATIONS = f"{SERVICE}/CertificateLocations"


def hostname(board: Board) -> str:
    return board.settings.hostname or f"{identity_of(board).name}-bmc"


def port(board: Board) -> Body:
    network = board.network
    address = {"Address": network.address, "SubnetMask": network.netmask}
    address |= {} if network.gateway == "0.0.0.0" else {"Gateway": network.gateway}
    address["AddressOrigin"] = "DHCP" if network.dhcp else "Static"
    return resource(
        PORT, "EthernetInterface.v1_9_0.EthernetInterface", "BMC port",
        MACAddress=network.mac, IPv4Addresses=[address], IPv4StaticAddresses=[] if network.dhcp else [address],
        DHCPv4={"DHCPEnabled": network.dhcp}, HostName=hostname(board), InterfaceEnabled=True,
        NameServers=list(network.dns), StaticNameServers=list(network.dns), Status=STATUS,
        VLAN={"VLANEnable": network.vlan > 0, "VLANId": network.vlan},
    )  # fmt: skip


def patch_port(board: Board, body: Body) -> Answer:
    """Change the BMC's port. A new address is kept, and shown; this simulation listens where it did."""
    known = {"DHCPv4", "IPv4StaticAddresses", "HostName", "StaticNameServers", "VLAN"}
    if unknown := sorted(set(body) - known):
        raise Refusal(400, "PropertyUnknown", f"The property {unknown[0]} is not known or cannot be changed.")
    wanted: dict[str, Any] = {}
    if isinstance(dhcp := body.get("DHCPv4"), dict) and isinstance(dhcp.get("DHCPEnabled"), bool):
        wanted["dhcp"] = dhcp["DHCPEnabled"]
    if isinstance(addresses := body.get("IPv4StaticAddresses"), list) and addresses:
        first = addresses[0]
        names = {"address": "Address", "netmask": "SubnetMask", "gateway": "Gateway"}
        wanted |= {ours: first[theirs] for ours, theirs in names.items() if isinstance(first.get(theirs), str)}
        wanted["dhcp"] = False
    if "StaticNameServers" in body:
        wanted["dns"] = _patched(board.network.dns, body["StaticNameServers"])
    if isinstance(vlan := body.get("VLAN"), dict):
        wanted["vlan"] = int(vlan.get("VLANId", board.network.vlan)) if vlan.get("VLANEnable", True) else 0
    board.network = dataclasses.replace(board.network, **wanted)
    board.settings.hostname = str(body.get("HostName", board.settings.hostname))
    return Answer(200, port(board))


def protocols(board: Board) -> Body:
    settings = board.settings
    return resource(
        PROTOCOLS, "ManagerNetworkProtocol.v1_9_0.ManagerNetworkProtocol", "Network protocols",
        HostName=hostname(board), HTTP={"ProtocolEnabled": False, "Port": 80},
        HTTPS={"ProtocolEnabled": True, "Port": 443, "Certificates": link(CERTIFICATES)},
        IPMI={"ProtocolEnabled": True, "Port": 623},
        SSH={"ProtocolEnabled": board.ssh_port > 0, "Port": board.ssh_port},
        SSDP={"ProtocolEnabled": settings.ssdp, "Port": 1900},
        NTP={"ProtocolEnabled": settings.ntp, "Port": 123, "NTPServers": list(settings.ntp_servers)}, Status=STATUS,
    )  # fmt: skip


def patch_protocols(board: Board, body: Body) -> Answer:
    """The clock's servers, and whether the service announces itself."""
    if unknown := sorted(set(body) - {"NTP", "SSDP"}):
        raise Refusal(400, "PropertyNotWritable", f"The property {unknown[0]} cannot be changed.")
    settings = board.settings
    if isinstance(ntp := body.get("NTP"), dict):
        settings.ntp = ntp.get("ProtocolEnabled", settings.ntp) is True
        settings.ntp_servers = _patched(settings.ntp_servers, ntp.get("NTPServers"))
    if isinstance(ssdp := body.get("SSDP"), dict):
        settings.ssdp = ssdp.get("ProtocolEnabled", settings.ssdp) is True
    return Answer(200, protocols(board))


def _patched(held: tuple[str, ...], asked: object) -> tuple[str, ...]:
    """A list of texts after a PATCH: {} leaves an element as it is, null takes it out (DSP0266 section 7.7)."""
    if not isinstance(asked, list):
        return held
    kept = [held[at] if one == {} and at < len(held) else one for at, one in enumerate(asked)]
    return tuple(one for one in kept if isinstance(one, str) and one)


def service(board: Board) -> Body:
    actions = {
        "#CertificateService.GenerateCSR": {"target": GENERATE},
        "#CertificateService.ReplaceCertificate": {"target": REPLACE},
    }
    rest = {"Actions": actions, "CertificateLocations": link(LOCATIONS)}
    return resource(SERVICE, "CertificateService.v1_0_4.CertificateService", "Certificates", **rest)


def locations(board: Board) -> Body:
    kind = "CertificateLocations.v1_0_3.CertificateLocations"
    return resource(LOCATIONS, kind, "Where certificates are", Links={"Certificates": [link(CERTIFICATE)]})


def certificates(board: Board) -> Body:
    return collection(CERTIFICATES, "Certificate", ["1"])


def certificate(board: Board) -> Body:
    pem = board.settings.certificate
    rest: Body = {"CertificateString": pem, "CertificateType": "PEM"}
    if pem:
        read = x509.load_pem_x509_certificate(pem.encode())
        rest |= {"Subject": _names(read.subject), "Issuer": _names(read.issuer)}
        rest |= {"ValidNotBefore": f"{read.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"}
        rest |= {"ValidNotAfter": f"{read.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"}
    return resource(CERTIFICATE, "Certificate.v1_7_0.Certificate", "Certificate of the web server", **rest)


def _names(name: x509.Name) -> Body:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return {"CommonName": str(found[0].value)} if found else {}


def generate(board: Board, body: Body) -> Answer:
    """GenerateCSR: a new key, which stays here, and a signing request for it."""
    name, collected = body.get("CommonName"), body.get("CertificateCollection")
    if not isinstance(name, str) or not name or not isinstance(collected, dict):
        raise Refusal(400, "ActionParameterMissing", "CommonName and CertificateCollection are needed.")
    key = ec.generate_private_key(ec.SECP256R1())
    others = [x509.DNSName(str(one)) for one in body.get("AlternativeNames") or [name]]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject)
    asked = asked.add_extension(x509.SubjectAlternativeName(others), critical=False)
    pem = asked.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    board.settings.key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return Answer(200, {"CSRString": pem, "CertificateCollection": collected})


def replace(board: Board, body: Body) -> Answer:
    """ReplaceCertificate: the web server shows it from the next connection on."""
    pem, where = body.get("CertificateString"), body.get("CertificateUri")
    if not isinstance(pem, str) or not isinstance(where, dict) or where.get("@odata.id") != CERTIFICATE:
        raise Refusal(400, "ActionParameterMissing", "CertificateString and CertificateUri are needed.")
    if not board.settings.key or not _fits(pem, board.settings.key):
        raise Refusal(400, "ActionParameterValueConflict", "The certificate is not for the key of the last request.")
    board.settings.certificate = pem
    return Answer(204, None, {"Location": CERTIFICATE})


def _fits(pem: str, key: str) -> bool:
    try:
        public = x509.load_pem_x509_certificate(pem.encode()).public_key()
    except ValueError:
        return False
    return public == serialization.load_pem_private_key(key.encode(), None).public_key()
