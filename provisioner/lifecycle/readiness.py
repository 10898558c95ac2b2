"""Reads what `preflight` judges, and puts together what a boot would do. Nothing is touched: BMCs are read only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from provisioner.boot.files import MADE_OF
from provisioner.boot.plan import BootPolicy, boots_by_medium, direct_file, next_boot
from provisioner.boot.script import Dialect, write
from provisioner.catalog.context import MADE
from provisioner.catalog.system import Secrets, TriedSecrets
from provisioner.dhcp.foretell import Foretold
from provisioner.errors import BmcError, ConfigError, ConflictError, NotFoundError, RenderError
from provisioner.lifecycle.forecast import (
    FROM_MEDIUM,
    Forecast,
    Said,
    asks,
    chain,
    firmwares,
    imagined,
    in_words,
    loader_plan,
    targets,
)
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.ports import Ports
from provisioner.lifecycle.preflight import Found, bmc, bmc_verbs, boots_from_network, checks, lists, verb_for
from provisioner.lifecycle.preview import Known
from provisioner.lifecycle.rendering import Imagined, RenderedFile, Renderings
from provisioner.model.artifact import Inspected
from provisioner.model.bmc import BmcAddress, BootTarget
from provisioner.model.boot import Arch, LoadFile
from provisioner.model.catalog import Bootenv
from provisioner.model.intent import Check
from provisioner.model.machine import Machine
from provisioner.model.net import Mac

TARGETS = "boot.targets"
Login = tuple[BmcAddress, str]


class Logins(Protocol):
    """The ways to a machine's board, with their passwords; `bmc.ways.Ways` is the real one."""

    async def look(self, machine: Machine) -> None:
        """See that the board lets us in, and that it is this machine's. Raises `BmcError`."""

    async def all(self, machine: Machine) -> list[Login]: ...


class Readiness:
    """Looks at machines."""

    def __init__(self, machines: Known, ports: Ports, arch_of: Callable[[Mac], str], logins: Logins) -> None:
        self._machines = machines
        self._arch_of = arch_of
        self._ports = ports
        self._logins = logins
        self._renderings = Renderings(ports)
        self.medium: Callable[[Machine, Bootenv, Mapping[str, Any]], list[Check]] = lambda *_: []
        """Judges whether a machine can boot a bootenv by a CD of its own (`media.Media.checks`)."""

    async def preflight(
        self,
        ref: str,
        bootenv: str,
        params: Mapping[str, Any] | None = None,
        *,
        via: str = "",
        verb: Verb | None = None,
    ) -> list[Check]:
        """Look at everything that has to hold before a machine is touched. `verb`: what it boots this for, where that
        is not what the bootenv itself is for.

        The BMC is asked last, and only when everything else is in order.
        """
        boot = self._boot(ref, bootenv, params, via)
        machine, wanted, verb = boot.machine, boot.bootenv, verb or verb_for(boot.bootenv)
        files, unfit = await self._rendered(boot)
        found = self._found(boot, files, unfit)
        early = checks(machine, wanted, replace(found, asked=False), verb)
        if machine.bmc is None or not all(check.ok for check in early):
            return early
        names = bmc_verbs(machine, verb, by_medium=boot.by_medium)
        return checks(machine, wanted, replace(found, **await self._asked(machine, names)), verb)

    async def reach(self, machine: Machine) -> Check:
        """Look at no more than whether a machine's BMC lets us in."""
        return bmc(machine, Found(**await self._asked(machine, ()) if machine.bmc is not None else {}))

    async def forecast(self, ref: str, name: str, via: str = "", params: Mapping[str, Any] | None = None) -> Forecast:
        """Say everything that booting a bootenv would do. The BMC is asked whatever else is wrong."""
        boot = self._boot(ref, name, params, via)
        machine, bootenv = boot.machine, boot.bootenv
        if not machine.macs:
            raise ConflictError(f"no hardware address of {machine.name} is known", hint="discover it first")
        if not boot.address:  # URLs as the machine will see them, at the address that it would be given
            boot = replace(boot, address=next((told.address for told in self._told(boot) or () if told.address), ""))
        files, unfit = await self._rendered(boot)
        inspected = [*self._loaders(boot), *await self._artifacts(boot), *(_inspected(each) for each in files)]
        verb, policy = verb_for(bootenv), self._policy(boot)
        names = bmc_verbs(machine, verb, by_medium=boot.by_medium)
        asked = await self._asked(machine, names) if machine.bmc is not None else {"asked": False}
        judged = checks(machine, bootenv, replace(self._found(boot, files, unfit), **asked), verb)
        judged += [Check("artifacts", ok=False, text=each.fault) for each in inspected if each.damaged]
        network = boots_from_network(verb) and not boot.by_medium
        way = chain(machine, bootenv, policy, self._direct(boot)) if not boot.by_medium else (FROM_MEDIUM,)
        return Forecast(
            machine, bootenv, verb, boot.arch,
            said=tuple(self._said(boot)) if network else (),
            chain=tuple(way),
            script=await self._script(boot) if network else "",
            files=tuple(inspected),
            targets=tuple(targets(machine, verb, self._chosen(boot))),
            checks=tuple(judged), by_medium=boot.by_medium,
        )  # fmt: skip

    def _boot(self, ref: str, bootenv: str, given: Mapping[str, Any] | None, via: str) -> Imagined:
        machine, wanted = self._machines.get(ref), self._ports.catalogue.bootenv(bootenv)
        arch = self._arch_of(machine.macs[0]) if machine.macs else "amd64"
        address = self._ports.network.address_of(machine.macs[0]) if machine.macs else ""
        by_medium = boots_from_network(verb_for(wanted)) and boots_by_medium(machine, via)
        return Imagined(machine, wanted, arch, address, given, by_medium)

    def _found(self, boot: Imagined, files: Sequence[RenderedFile], unfit: Sequence[str]) -> Found:
        missing = list(self._ports.artifacts.missing(boot.bootenv, boot.arch))
        if boot.bootenv.installs_with:
            missing += self._ports.artifacts.missing(self._renderings.started(boot), boot.arch)
        told = self._told(boot) if not boot.by_medium else None
        medium = self.medium(boot.machine, boot.bootenv, boot.given or {}) if boot.by_medium else None
        return Found(missing, [each.name for each in files], unfit, told, self._unserved(boot), medium=medium)

    async def _asked(self, machine: Machine, names: Sequence[str]) -> dict[str, Any]:
        """Log in to the BMC, see that it is this machine's, and whether it can do what is needed."""
        try:
            await self._logins.look(machine)
            logins = await self._logins.all(machine)
            listed = await self._listed(logins) if any(name.startswith("boot.") for name in names) else {}
            cannot = [name for name in names if not await self._can(name, logins, listed)]
            return {"cannot": cannot, "targets": next(iter(listed.values()), ())}
        except (BmcError, NotFoundError) as error:
            return {"bmc_fault": str(error)}

    async def _listed(self, logins: Sequence[Login]) -> Mapping[BmcAddress, Sequence[BootTarget]]:
        """Read what the board lists to boot from, by each way that says so."""
        bmcs, listed = self._ports.bmcs, {}
        for address, password in await bmcs.order(TARGETS, logins):
            with contextlib.suppress(BmcError):  # it says nothing of it then
                listed[address] = await bmcs.do(address, password, TARGETS)
        return {address: targets for address, targets in listed.items() if targets}

    async def _can(self, verb: str, logins: Sequence[Login], listed: Mapping[BmcAddress, Sequence[BootTarget]]) -> bool:
        order = await self._ports.bmcs.order(verb, logins)
        return any(lists(listed.get(address, ()), verb) for address, _ in order)

    async def _rendered(self, boot: Imagined) -> tuple[list[RenderedFile], list[str]]:
        """Look every secret up, render every file with them; what comes out, and what is wrong. Only that is told."""
        machine = boot.machine
        try:
            references = self._ports.catalogue.references(boot.bootenv, machine, boot.given or {})
            if not machine.macs or (machine.facts is None and boot.bootenv.kind in MADE):
                return [], []  # nothing can be rendered for hardware that nobody knows; another check says so
            wanted = references if any(answer.secret for answer in boot.bootenv.answers) else []
            secrets = TriedSecrets("preflight", await self._ports.secrets(wanted))
            files = await self._tried(boot, secrets)
        except (RenderError, ConfigError) as error:
            return [], list(error.faults) or [str(error)]
        return files, []

    async def _tried(self, boot: Imagined, secrets: Secrets) -> list[RenderedFile]:
        """Render every file with what its secrets are: a passphrase that no installer can be told is found here."""
        try:
            return [await make() for _, make in self._renderings.files(boot, secrets)]
        except RenderError:
            for _, make in self._renderings.files(boot):  # where secrets are not why, the whole fault is told
                await make()
            raise

    def _told(self, boot: Imagined) -> list[Foretold] | None:
        """Say what the firmware would hear, on each link that the machine may be on."""
        foretell = self._ports.network.foretell
        if foretell is None or not boot.machine.macs:
            return None
        _, ask = asks(boot.machine)[0]
        after, policy = imagined(boot.machine, boot.bootenv), self._ports.network.policy(boot.address)
        return list(foretell(ask, lambda client: next_boot(client, after, policy, self._direct(boot))))

    def _policy(self, boot: Imagined) -> BootPolicy:
        """Say what is set about booting where a machine boots, with the loaders that DHCP would send its firmware to:
        a subnet, a profile and a reservation may name others than the rule.
        """
        policy, foretell = self._ports.network.policy(boot.address), self._ports.network.foretell
        if foretell is None or not boot.machine.macs:
            return policy
        direct, loaders = self._direct(boot), dict(policy.loaders)
        for _, ask in asks(boot.machine):
            plan = loader_plan(boot.machine, boot.bootenv, Arch(ask.arch or 0), policy, direct)
            if ask.user_class or not isinstance(plan, LoadFile) or plan.direct:
                continue

            def decide(_client: object, plan: LoadFile = plan) -> LoadFile:
                return plan

            files = [told.boot_file for told in foretell(ask, decide) if told.boot_file]
            loaders |= {int(ask.arch or 0): file.rpartition("/")[2] for file in files[:1]}
        return replace(policy, loaders=loaders)

    def _said(self, boot: Imagined) -> list[Said]:
        foretell, policy = self._ports.network.foretell, self._policy(boot)
        after, said = imagined(boot.machine, boot.bootenv), []
        for words, ask in asks(boot.machine) if foretell is not None else ():
            plans: list[str] = []

            def decide(client: Any, plans: list[str] = plans) -> Any:
                plan = next_boot(client, after, policy, self._direct(boot))
                plans.append(in_words(plan))
                return plan

            assert foretell is not None
            for told in foretell(ask, decide):
                said.append(Said(words, plans[-1] if plans else "", told))
        return said

    def _loader_names(self, boot: Imagined) -> list[str]:
        if boot.by_medium or not boot.machine.macs or not boots_from_network(verb_for(boot.bootenv)):
            return []
        policy, direct, machine = self._policy(boot), self._direct(boot), boot.machine
        plans = [loader_plan(machine, boot.bootenv, arch, policy, direct) for _, arch in firmwares(machine)]
        return [plan.name for plan in plans if isinstance(plan, LoadFile) and not plan.direct]

    def _direct(self, boot: Imagined) -> str:
        return direct_file(self._renderings.started(boot), boot.arch)

    def _unserved(self, boot: Imagined) -> list[str]:
        """Name the loaders that are not there; where the firmware is not known, one of them is enough."""
        names = self._loader_names(boot)
        missing = [name for name in names if not self._ports.network.serves(name)]
        return missing if len(missing) == len(names) else []

    def _loaders(self, boot: Imagined) -> list[Inspected]:
        found = []
        for name in (part for told in self._loader_names(boot) for part in MADE_OF.get(told, (told,))):
            file = self._ports.network.file(name)
            if file is None:
                found.append(Inspected(name, "loader", fault=f"there is no {name} to give it"))
            else:
                found.append(Inspected(name, "loader", file.size_bytes, file.sha256, file.origin))
        return found

    async def _artifacts(self, boot: Imagined) -> list[Inspected]:
        started = self._renderings.started(boot)
        wanted = [boot.bootenv] if started is boot.bootenv else [started, boot.bootenv]
        return [each for bootenv in wanted for each in await self._ports.artifacts.inspect(bootenv, boot.arch)]

    async def _script(self, boot: Imagined) -> str:
        arm = all(arch in (Arch.EFI_ARM64, Arch.EFI_ARM64_HTTP) for _, arch in firmwares(boot.machine))
        try:
            record = await self._renderings.record(boot)
        except ConfigError:
            return ""  # the check of the parameters says why
        return write(record, Dialect.GRUB if arm else Dialect.IPXE) if record is not None else ""

    def _chosen(self, boot: Imagined) -> list[str] | None:
        """Name the disks that the system goes on; None where that cannot be said."""
        if boot.bootenv.kind not in MADE or boot.machine.facts is None:
            return None
        try:
            system = self._ports.catalogue.context(self._renderings.occasion(boot, boot.bootenv))["system"]
        except (RenderError, ConfigError):
            return None
        return [disk["name"] for disk in system["disk"]["disks"]]


def _inspected(file: RenderedFile) -> Inspected:
    return Inspected(file.name, "rendered", len(file.text.encode()), "", "rendered for this machine alone")
