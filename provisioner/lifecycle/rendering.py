"""Renders what a boot would give a machine, with stand-ins for everything that opens something.

Tickets, tokens and secrets are not made for this: words in capitals and "(hidden)" stand in their places.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.boot.script import BootRecord
from provisioner.catalog.context import Boot, Occasion, Stored, artifact_url, subject_of
from provisioner.catalog.crypt import Unhashed
from provisioner.catalog.params import HIDDEN
from provisioner.catalog.system import Secrets
from provisioner.lifecycle.ports import Catalogue, Ports
from provisioner.model.catalog import Bootenv
from provisioner.model.machine import Machine

KERNEL_ARGS = "kernel-args"
"""The name of the kernel's command line among a boot's files."""
TICKET, TOKEN = "TICKET", "TOKEN"
NO_HASH = "0" * 64
"""Of an artefact that is not in store, and of which nobody said what it has to be."""


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One file as the machine would get it."""

    name: str
    content_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Imagined:
    """One boot that has not begun: the machine, what it would boot, and the parameters of this boot alone."""

    machine: Machine
    bootenv: Bootenv
    arch: str
    address: str = ""
    """The one that it holds now; without one, URLs are those that this host would be reached by."""
    given: Mapping[str, Any] | None = None
    by_medium: bool = False
    """It boots from a CD of its own."""


Make = Callable[[], Awaitable[RenderedFile]]


class _HiddenSecrets(Secrets):
    """Stands for every secret, and gives none."""

    def value(self, reference: str) -> str:
        return HIDDEN

    def hashed(self, reference: str | None, user: str) -> dict[str, str | Unhashed]:
        return {"hash": HIDDEN if reference else ""}


_HIDDEN_SECRETS = _HiddenSecrets("preview")


def starts_with(catalogue: Catalogue, bootenv: Bootenv) -> Bootenv:
    """Say which system is started to bring a bootenv onto a machine: itself, or the one that installs it."""
    return catalogue.bootenv(bootenv.installs_with) if bootenv.installs_with else bootenv


class Renderings:
    """Renders for boots that have not begun. Every call raises `RenderError` where something cannot be rendered."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def started(self, boot: Imagined) -> Bootenv:
        """Say what the machine starts."""
        return starts_with(self._ports.catalogue, boot.bootenv)

    def files(self, boot: Imagined, secrets: Secrets = _HIDDEN_SECRETS) -> Sequence[tuple[str, Make]]:
        """Name the files of a boot, each with what makes it."""
        catalogue, bootenv, started = self._ports.catalogue, boot.bootenv, self.started(boot)

        async def args() -> RenderedFile:
            line = await catalogue.kernel_args(self.occasion(boot, started))
            return RenderedFile(KERNEL_ARGS, "text/plain", line)

        def answer(name: str, content_type: str) -> Make:
            async def make() -> RenderedFile:
                content = await catalogue.answer(self.occasion(boot, bootenv, secrets), name)
                return RenderedFile(name, content_type, content.decode())

            return make

        kernel = [(KERNEL_ARGS, args)] if boot.arch in started.arch and started.arch[boot.arch].kernel else []
        return [*kernel, *((each.id, answer(each.id, each.content_type)) for each in bootenv.answers)]

    async def record(self, boot: Imagined) -> BootRecord | None:
        """Put together what the loader would be told; None where nothing is started from the network."""
        started = self.started(boot)
        files = started.arch.get(boot.arch)
        if files is None or not files.kernel:
            return None
        args = await self._ports.catalogue.kernel_args(self.occasion(boot, started))
        return record_of(started, boot.arch, (self.base(boot), TICKET), boot.machine.name, args)

    def base(self, boot: Imagined) -> str:
        """Say our URL as the machine would reach it."""
        return self._ports.network.base_url(boot.address)

    def occasion(self, boot: Imagined, bootenv: Bootenv, secrets: Secrets | None = None) -> Occasion:
        """Say what something would be rendered for."""
        stored = {**_absent(bootenv, boot.arch), **self._ports.artifacts.stored(bootenv, boot.arch)}
        seen = Boot(self.base(boot), boot.machine.macs[0], boot.arch, "", boot.address, TOKEN, TICKET, TOKEN, stored)
        return Occasion(bootenv, subject_of(boot.machine), seen, boot.given or {}, secrets)


def _absent(bootenv: Bootenv, arch: str) -> dict[str, Stored]:
    """Stand for every artefact of a bootenv: that one is missing is said once, and not by each file that names it."""
    files = bootenv.arch.get(arch)
    return (
        {each.name: Stored(each.sha256 or NO_HASH, each.size_bytes or 0) for each in files.artifacts} if files else {}
    )


def record_of(bootenv: Bootenv, arch: str, place: tuple[str, str], who: str, args: str) -> BootRecord:
    """Say which files a loader starts for `who`, and with which arguments. `place` is our URL, and the boot's ticket.

    Answer files that the loader hands over come last: a ticket is good once, and what fails before is tried again.
    """
    files, (base, ticket) = bootenv.arch[arch], place
    urls = [artifact_url(base, bootenv.name, arch, name) for name in (files.kernel, *files.initrds)]
    urls += [f"{base}/answers/{ticket}/{answer}" for answer in files.injects]
    return BootRecord(f"{bootenv.title} for {who}", urls[0], tuple(urls[1:]), args)
