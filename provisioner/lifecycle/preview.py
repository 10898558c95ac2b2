"""What a machine would get, rendered before anything is touched, and where each value of it comes from.

Tickets, tokens and secrets are not made for this: words in capitals and "(hidden)" stand in their places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from provisioner.catalog.context import Boot, answer_context
from provisioner.catalog.params import HIDDEN, Resolved, Setting
from provisioner.catalog.system import Secrets
from provisioner.errors import ConflictError, NotFoundError
from provisioner.fields import nearest
from provisioner.lifecycle.boots import arch_by_facts
from provisioner.lifecycle.ports import Ports
from provisioner.model.catalog import Bootenv, Param
from provisioner.model.machine import Machine
from provisioner.model.net import Mac

KERNEL_ARGS = "kernel-args"
"""The name of the kernel's command line among a boot's files."""
TICKET, TOKEN = "TICKET", "TOKEN"


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One file as the machine would get it."""

    name: str
    content_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """One parameter: what it is, and what each layer says of it, the most general first."""

    name: str
    about: str
    merge: str
    value: Any
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """All files of one boot. `address` is the one that the machine holds now; without one, URLs are a guess."""

    bootenv: str
    arch: str
    address: str
    files: tuple[RenderedFile, ...]
    values: tuple[Value, ...]


class _HiddenSecrets(Secrets):
    """Stands for every secret, and gives none."""

    def value(self, reference: str) -> str:
        return HIDDEN

    def hashed(self, reference: str | None, user: str) -> dict[str, str]:
        return {"hash": HIDDEN if reference else ""}


class Known(Protocol):
    """Machines on record; `lifecycle.registry.Machines` is the real one."""

    def get(self, ref: str) -> Machine: ...


class Previews:
    """Renders for machines on record. `address_of` says which address a hardware address holds now, "" for none."""

    def __init__(
        self,
        machines: Known,
        ports: Ports,
        declared: Callable[[], Mapping[str, Param]],
        address_of: Callable[[Mac], str],
    ) -> None:
        self._machines = machines
        self._ports = ports
        self._declared = declared
        self._address_of = address_of

    async def render(self, ref: str, bootenv: str, file: str = "") -> Preview:
        """Render what a machine would get (one `file` of it); raise `RenderError` where it cannot be."""
        machine, wanted = self._machines.get(ref), self._ports.catalogue.bootenv(bootenv)
        if not machine.macs:
            raise ConflictError(f"no hardware address of {machine.name} is known", hint="discover it first")
        address = self._address_of(machine.macs[0])
        arch = arch_by_facts(machine)
        resolved = self._ports.catalogue.params(wanted, machine, {})
        files = [await make() for name, make in self._files(machine, wanted, arch, address) if file in ("", name)]
        if not files:
            known = [name for name, _ in self._files(machine, wanted, arch, address)]
            raise NotFoundError(f"{wanted.name} has no file {file[:80]!r}{nearest(file, known)}", hint=", ".join(known))
        return Preview(wanted.name, arch, address, tuple(files), self._values(resolved, ""))

    def values(self, ref: str, bootenv: str = "", name: str = "") -> tuple[Value, ...]:
        """Explain the parameters of a machine for a bootenv (its own, where none is named), or one of them."""
        machine = self._machines.get(ref)
        wanted = self._ports.catalogue.bootenv(bootenv or machine.bootenv or "discovery")
        if name and name not in self._declared():
            raise NotFoundError(f"no parameter {name[:80]!r}{nearest(name, self._declared())}")
        return self._values(self._ports.catalogue.params(wanted, machine, {}), name)

    def _files(
        self, machine: Machine, bootenv: Bootenv, arch: str, address: str
    ) -> Sequence[tuple[str, Callable[[], Any]]]:
        """Name the files of a boot, each with what makes it."""
        catalogue = self._ports.catalogue
        started = catalogue.bootenv(bootenv.installs_with) if bootenv.installs_with else bootenv

        async def args() -> RenderedFile:
            line = await catalogue.kernel_args(started, arch, self._context(machine, started, arch, address))
            return RenderedFile(KERNEL_ARGS, "text/plain", line)

        def answer(name: str, content_type: str) -> Callable[[], Any]:
            async def make() -> RenderedFile:
                secrets = _HiddenSecrets("preview")
                context = self._context(machine, bootenv, arch, address, secrets)
                content = await catalogue.answer(bootenv, name, context)
                return RenderedFile(name, content_type, content.decode())

            return make

        kernel = [(KERNEL_ARGS, args)] if arch in started.arch and started.arch[arch].kernel else []
        return [*kernel, *((each.id, answer(each.id, each.content_type)) for each in bootenv.answers)]

    def _context(
        self, machine: Machine, bootenv: Bootenv, arch: str, address: str, secrets: Secrets | None = None
    ) -> dict[str, Any]:
        base, stored = self._ports.network.base_url(address), self._ports.artifacts.stored(bootenv, arch)
        boot = Boot(base, machine.macs[0], arch, "", address, TOKEN, TICKET, TOKEN, stored)
        return answer_context(machine, bootenv, boot, self._ports.catalogue.params(bootenv, machine, {}), secrets)

    def _values(self, resolved: Resolved, name: str) -> tuple[Value, ...]:
        return tuple(
            Value(
                param.name,
                param.about,
                str(param.merge),
                HIDDEN if param.secret and resolved.flat.get(param.name) else resolved.flat.get(param.name),
                tuple(resolved.explain(param)),
            )
            for param in sorted(self._declared().values(), key=lambda param: param.name)
            if name in ("", param.name)
        )
