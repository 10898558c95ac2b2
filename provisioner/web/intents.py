"""What people write to the API, as typed bodies: unknown keys are refused, every fault is told at once. No I/O."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import msgspec

from provisioner.errors import ConfigError, WireError
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.intent import EnrolRequest
from provisioner.model.net import is_of_port, parse_mac
from provisioner.web.ports import PowerVerb

MAX_IPMI_PASSWORD = 20  # octets: IPMI 2.0 section 22.30, Set User Password
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?!.{{254}})(?:{_LABEL}\.)*{_LABEL}\.?|[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*(?:%[A-Za-z0-9.-]{{1,15}})?")
"""A name as the DNS can have it (RFC 1123 section 2.1: no look-up takes another), or an address."""


_SSH_USER = re.compile(r"(?:[A-Za-z0-9_.][A-Za-z0-9_.@$-]{0,254})?")
"""A name as systems have it (POSIX.1-2017 section 3.437; `$` and `@` of domains): ssh may hand it to a shell (`%r`)."""


class BmcBody(msgspec.Struct, forbid_unknown_fields=True):
    driver: Driver
    host: str
    username: str
    password: str = ""
    port: int = 0
    fingerprint: str = ""
    system: str = ""


BootVia = Literal["pxe", "http", "media"]
"""How a machine boots, as long as nobody says otherwise for one boot."""


class EnrolBody(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    bmc: BmcBody | None = None
    macs: list[str] = msgspec.field(default_factory=list)
    boot_via: str = ""
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    tags: list[str] = msgspec.field(default_factory=list)
    verify: bool = True


Via = Literal["", "network", "media"]
"""How one boot is to reach its machine; empty: as the machine is set up."""


class BootBody(msgspec.Struct, forbid_unknown_fields=True):
    bootenv: str
    via: Via = ""
    params: dict[str, Any] | None = None


class ReleaseBody(msgspec.Struct, forbid_unknown_fields=True):
    erase: bool = True


class PowerBody(msgspec.Struct, forbid_unknown_fields=True):
    power: PowerVerb


class HoldBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str
    quarantine: bool = False


class BootViaBody(msgspec.Struct, forbid_unknown_fields=True):
    boot_via: BootVia


class AdoptBody(msgspec.Struct, forbid_unknown_fields=True):
    bootenv: str


def check_via(text: str) -> None:
    """Raise `WireError` where a query names no way to boot."""
    if text not in get_args(Via):
        raise WireError(f"via: {text[:40]!r}", hint="network or media")


def enrol_request(body: EnrolBody) -> EnrolRequest:
    """Check what people type wrong, all at once, and make the conductor's request of it. Equal ones are one."""
    faults = []
    if not _NAME.fullmatch(body.name):
        faults.append(f"name: {body.name[:80]!r}: lower-case letters, digits and hyphens, at most 63 (RFC 1123)")
    if body.boot_via not in ("", *get_args(BootVia)):
        faults.append(f"boot_via: {body.boot_via[:40]!r}: pxe, http or media")
    macs = []
    for number, text in enumerate(body.macs):
        try:
            macs.append(mac := parse_mac(text))
            if not is_of_port(mac):
                faults.append(f"macs[{number}]: {mac} is no network port's: a group's address, or none at all")
        except ConfigError as error:
            faults.append(f"macs[{number}]: {error}")
    faults += [
        f"tags[{at}]: {tag[:80]!r}: no control characters" for at, tag in enumerate(body.tags) if not tag.isprintable()
    ]
    faults += [f"bmc.{fault}" for fault in _bmc_faults(body.bmc)]
    if faults:
        raise ConfigError(f"{body.name[:80]!r} cannot be enrolled", faults=faults)
    return EnrolRequest(
        name=body.name,
        bmc=_bmc(body.bmc) if body.bmc else None,
        password=body.bmc.password if body.bmc else "",
        macs=tuple(dict.fromkeys(macs)),
        boot_via=body.boot_via,
        params=body.params,
        tags=tuple(dict.fromkeys(body.tags)),
        verify=body.verify,
    )


def bmc_address(body: BmcBody) -> BmcAddress:
    """Check an address by itself; raise `ConfigError` with everything that is wrong with it."""
    if faults := _bmc_faults(body):
        raise ConfigError(f"{body.host[:80]!r} cannot be put on record", faults=faults)
    return _bmc(body)


def _bmc(body: BmcBody) -> BmcAddress:
    port = body.port or body.driver.port
    return BmcAddress(body.driver, body.host, port, body.username, body.fingerprint, body.system)


def _bmc_faults(body: BmcBody | None) -> list[str]:
    if body is None:
        return []
    faults = []
    if not _HOST.fullmatch(body.host):
        faults.append(f"host: {body.host[:80]!r}: a name or an address")
    if not 0 <= body.port <= 65535:
        faults.append(f"port: {body.port}: 1 to 65535")
    if body.driver is Driver.LIBVIRT and not _SSH_USER.fullmatch(body.username):
        faults.append(f"username: {body.username[:80]!r}: letters, digits and _.@$-, as ssh takes it")
    elif not body.username.isprintable():
        faults.append(f"username: {body.username[:80]!r}: no control characters")
    if body.driver is Driver.IPMI and len(body.password.encode()) > MAX_IPMI_PASSWORD:
        faults.append(f"password: IPMI 2.0 takes at most {MAX_IPMI_PASSWORD} octets")
    if body.fingerprint and not re.fullmatch(r"[0-9a-f]{64}", body.fingerprint):
        faults.append("fingerprint: the SHA-256 of the certificate, 64 hexadecimal digits in lower case")
    return faults
