"""What a machine would get, rendered before anything is touched, and where each value of it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from provisioner.catalog.params import HIDDEN, Resolved, Setting
from provisioner.catalog.spelled import Word, words
from provisioner.errors import ConflictError, NotFoundError
from provisioner.fields import nearest
from provisioner.lifecycle.boots import arch_by_facts
from provisioner.lifecycle.ports import Ports
from provisioner.lifecycle.rendering import Imagined, RenderedFile, Renderings
from provisioner.model.catalog import Bootenv, Param
from provisioner.model.machine import Machine


@dataclass(frozen=True, slots=True)
class Value:
    """One parameter: what it is, and what each layer says of it, the most general first."""

    name: str
    about: str
    merge: str
    value: Any
    settings: tuple[Setting, ...]
    words: tuple[Word, ...]
    """What it takes, and the keys inside of it."""


@dataclass(frozen=True, slots=True)
class Preview:
    """All files of one boot. `address` is the one that the machine holds now; without one, URLs are a guess."""

    bootenv: str
    arch: str
    address: str
    files: tuple[RenderedFile, ...]
    values: tuple[Value, ...]


class Known(Protocol):
    """Machines on record; `lifecycle.registry.Machines` is the real one."""

    def get(self, ref: str) -> Machine: ...


class Previews:
    """Renders for machines on record."""

    def __init__(
        self,
        machines: Known,
        ports: Ports,
        declared: Callable[[], Mapping[str, Param]],
    ) -> None:
        self._machines = machines
        self._ports = ports
        self._renderings = Renderings(ports)
        self._declared = declared

    async def render(self, ref: str, bootenv: str, file: str = "", params: Mapping[str, Any] | None = None) -> Preview:
        """Render what a machine would get (one `file` of it); raise `RenderError` where it cannot be.

        `params` are those of the boot; None: those of the run under way, where it is of this bootenv.
        """
        machine, wanted = self._machines.get(ref), self._ports.catalogue.bootenv(bootenv)
        if not machine.macs:
            raise ConflictError(f"no hardware address of {machine.name} is known", hint="discover it first")
        given, address = _given(machine, wanted, params), self._ports.network.address_of(machine.macs[0])
        boot = Imagined(machine, wanted, arch_by_facts(machine), address, given)
        resolved = self._ports.catalogue.params(wanted, machine, given)
        makes = self._renderings.files(boot)
        files = [await make() for name, make in makes if file in ("", name)]
        if not makes:
            raise NotFoundError(f"{wanted.name} has no files for {boot.arch}: there is nothing to render")
        if not files:
            known = [name for name, _ in makes]
            raise NotFoundError(f"{wanted.name} has no file {file[:80]!r}{nearest(file, known)}")
        return Preview(wanted.name, boot.arch, boot.address, tuple(files), self._values(resolved, ""))

    def values(
        self, ref: str, bootenv: str = "", name: str = "", params: Mapping[str, Any] | None = None
    ) -> tuple[Value, ...]:
        """Explain the parameters of a machine, or one of them, for a bootenv.

        Where none is named, that is the one of the run under way, else its own. `params` as for `render`.
        """
        machine = self._machines.get(ref)
        under_way = machine.run.bootenv if machine.run is not None and machine.run.step is not None else ""
        wanted = self._ports.catalogue.bootenv(bootenv or under_way or machine.bootenv or "discovery")
        if name and name not in self._declared():
            raise NotFoundError(f"no parameter {name[:80]!r}{nearest(name, self._declared())}")
        return self._values(self._ports.catalogue.params(wanted, machine, _given(machine, wanted, params)), name)

    def _values(self, resolved: Resolved, name: str) -> tuple[Value, ...]:
        return tuple(
            Value(
                param.name,
                param.about,
                str(param.merge),
                HIDDEN if param.secret and resolved.flat.get(param.name) else resolved.flat.get(param.name),
                tuple(resolved.explain(param)),
                tuple(words(param)),
            )
            for param in sorted(self._declared().values(), key=lambda param: param.name)
            if name in ("", param.name)
        )


def _given(machine: Machine, bootenv: Bootenv, params: Mapping[str, Any] | None) -> Mapping[str, Any]:
    run = machine.run
    if params is not None or run is None or run.step is None or run.bootenv != bootenv.name:
        return params or {}
    return run.params
