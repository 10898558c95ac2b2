"""Talk to a BMC from this process, by its address: for BMCs that no daemon knows yet."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.session import Session, is_terminal, read_first_line
from provisioner.errors import ConfigError, WireError
from provisioner.model.bmc import BmcAddress, Driver, parse_url

if TYPE_CHECKING:
    from provisioner.bmc.pool import Bmcs


def target_of(text: str) -> str | BmcAddress:
    """Read a machine's name, or the URL of a BMC; raise `ConfigError`."""
    return parse_url(text) if "://" in text else text


def pin_of(text: str) -> str:
    """Read the SHA-256 of a certificate, with or without colons; raise `ConfigError`."""
    pin = text.replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", pin):
        raise ConfigError(f"{text[:80]!r}: not a SHA-256", hint="`provisionctl bmc pin redfish://HOST` shows it")
    return pin


class Direct:
    """One BMC by its address, with the options that say how to log in."""

    def __init__(
        self,
        session: Session,
        address: BmcAddress,
        *,
        password_file: str = "",
        pin: str | None = None,
        trust: bool = False,
    ) -> None:
        self._session = session
        self.address = address
        self._password_file = password_file
        self._pin = pin
        self._trust = trust

    def do(self, verb: str, given: Mapping[str, Any]) -> Any:
        """Do one verb; return its result as plain values."""
        from provisioner.bmc.arguments import arguments, plain

        try:
            read = arguments(verb, given)
        except WireError as error:
            raise click.UsageError(f"{error.message}; {error.hint}", click.get_current_context()) from error
        return plain(self._done(verb, read))

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
        """Find the password: a file, the environment, a prompt; never the command line. Empty where none is asked."""
        if not self.address.driver.has_password:
            return ""
        if self._password_file:
            return read_first_line(self._password_file)
        if (given := os.environ.get("PROVISIONER_BMC_PASSWORD")) is not None:
            return given
        if is_terminal(sys.stdin):
            return str(click.prompt(f"Password of {self.address}", hide_input=True, err=True))
        raise ConfigError("no password for the BMC", hint="--password-file FILE or PROVISIONER_BMC_PASSWORD")
