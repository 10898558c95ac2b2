"""Talk to a BMC from this process, by its address: for BMCs that no daemon knows yet."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.session import Session, is_terminal, read_first_line
from provisioner.errors import ConfigError
from provisioner.model.bmc import BmcAddress, Driver

if TYPE_CHECKING:
    from provisioner.bmc.pool import Bmcs

PORTS = {Driver.IPMI: 623, Driver.REDFISH: 443, Driver.LIBVIRT: 0}
HINT = "ipmi://USER@HOST[:PORT] or redfish://USER@HOST[:PORT][/SYSTEM]"


def is_url(target: str) -> bool:
    """Say whether a target is an address, not a machine's name."""
    return "://" in target


def parse_address(text: str) -> BmcAddress:
    """Read the address of a BMC; raise `ConfigError`."""
    try:
        url = urllib.parse.urlsplit(text)
        port = url.port
    except ValueError as error:
        raise ConfigError(f"{text!r}: {error}", hint=HINT) from error
    if url.password is not None:
        raise ConfigError("a password has no place in an address, others can read it", hint="use --password-file")
    if url.scheme not in set(Driver) or not url.hostname or url.query or url.fragment:
        raise ConfigError(f"{text!r}: not the address of a BMC", hint=HINT)
    driver = Driver(url.scheme)
    user, system = urllib.parse.unquote(url.username or ""), urllib.parse.unquote(url.path.strip("/"))
    return BmcAddress(driver, url.hostname, port or PORTS[driver], user, system=system)


class Direct:
    """One BMC by its address, with the options that say how to log in."""

    def __init__(
        self, session: Session, target: str, *, password_file: str = "", pin: str = "", trust: bool = False
    ) -> None:
        self._session = session
        self.address = parse_address(target)
        self._password_file = password_file
        self._pin = pin.replace(":", "").lower()
        self._trust = trust
        if self._pin and not re.fullmatch("[0-9a-f]{64}", self._pin):
            raise ConfigError(f"--pin {pin[:80]!r}: not a SHA-256", hint=f"`provisionctl bmc pin {target}` shows it")

    def do(self, verb: str, given: Mapping[str, Any]) -> Any:
        """Do one verb; return its result as plain values."""
        from provisioner.bmc.arguments import arguments, plain

        return plain(self._done(verb, arguments(verb, given)))

    def push(self, file: Path) -> None:
        """Send firmware."""
        self._done("firmware.push", {"file": file})

    def _done(self, verb: str, read: Mapping[str, Any]) -> Any:
        from provisioner.bmc.pool import Bmcs

        password = self.password()

        async def work() -> Any:
            async with Bmcs() as bmcs:
                return await bmcs.do(await self.pinned(bmcs), password, verb, **read)

        return asyncio.run(work())

    def fingerprint(self) -> str:
        """Read the certificate that the BMC shows."""
        from provisioner.bmc.pool import Bmcs

        async def work() -> str:
            return await Bmcs().fingerprint(self.address)

        found = asyncio.run(work())
        if not found:
            raise ConfigError(f"{self.address}: has no certificate", hint="only redfish:// has one")
        return found

    async def pinned(self, bmcs: Bmcs) -> BmcAddress:
        """Return the address with the certificate to expect: the one given, or with --trust the one it shows."""
        from dataclasses import replace

        if self.address.driver is not Driver.REDFISH or not (self._pin or self._trust):
            return self.address
        if not self._pin:
            shown = await bmcs.fingerprint(self.address)
            self._session.note(f"trusting the certificate {shown}")
            return replace(self.address, fingerprint=shown)
        return replace(self.address, fingerprint=self._pin)

    @property
    def trusts(self) -> bool:
        """Say whether keys that nobody has seen before are trusted."""
        return self._trust

    def password(self) -> str:
        """Find the password: a file, the environment, a prompt; never the command line."""
        if self._password_file:
            return read_first_line(self._password_file)
        if (given := os.environ.get("PROVISIONER_BMC_PASSWORD")) is not None:
            return given
        if is_terminal(sys.stdin):
            return str(click.prompt(f"Password of {self.address}", hide_input=True, err=True))
        raise ConfigError("no password for the BMC", hint="--password-file FILE or PROVISIONER_BMC_PASSWORD")
