"""Boot decisions for what asks: DHCP, TFTP and HTTP come here, `boot.plan` decides, the run hears of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from provisioner.boot.files import MADE_OF
from provisioner.boot.plan import SECURE_BOOT_LOADERS, arch_name, direct_file, next_boot, other_uuid
from provisioner.boot.refusals import Refusals
from provisioner.boot.script import NOWHERE, BootRecord, Dialect, leave, write
from provisioner.catalog import nics
from provisioner.catalog.context import MADE, Boot, Occasion, Stored, subject_of
from provisioner.clock import SteadyClock
from provisioner.dhcp.identify import spelled
from provisioner.errors import ConfigError, NotFoundError, ProvisionerError
from provisioner.lifecycle.inputs import Seen
from provisioner.lifecycle.plans import Signal, is_to_stop
from provisioner.lifecycle.ports import Ports
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.rendering import record_of, starts_with
from provisioner.lifecycle.runner import Runner
from provisioner.model.boot import Asker, BootClient, LocalDisk, NoBoot, OnDisk, Plan, RunScript, efi_mark
from provisioner.model.catalog import Bootenv, Kind
from provisioner.model.machine import Machine
from provisioner.model.net import Mac
from provisioner.model.trace import NOW, Channel, TraceLine
from provisioner.model.workflow import Where
from provisioner.store.tokens import Purpose, Tokens
from provisioner.store.trace import Trace

PLANS_LIMIT = 1024
"""Plans remembered for unknown machines: one for each kind of firmware, of which a site has a few."""
CLIENTS_LIMIT = 8192
"""Clients whose last request is remembered, 300 octets each; the one not heard of for longest goes first."""
DISCOVERY = "discovery"


def asks_for_answers(bootenv: Bootenv) -> bool:
    """Say whether what boots fetches answer files by a ticket; the discovery system gets its jobs by the agent."""
    return bool(bootenv.answers) and not bootenv.job and bootenv.kind is not Kind.DISCOVERY


def arch_by_facts(machine: Machine | None) -> str:
    """Name a machine's architecture as discovery found it."""
    known = machine.facts.cpu.architecture if machine and machine.facts else ""
    return {"aarch64": "arm64", "riscv64": "riscv64"}.get(known, "amd64")


Arm = Callable[[Machine, Mac, Bootenv, str, float], Awaitable[tuple[str, str]]]


class Ours(NamedTuple):
    """What is ours in a boot, beside its tokens: our URL as the machine reaches it, and what we have for it."""

    base: str
    arch: str
    artifacts: Mapping[str, Stored]
    steps: tuple[str, ...]


class Boots:
    """Answers "what do I boot", and hears from the same question how far a machine has come."""

    def __init__(
        self, machines: Machines, runner: Runner, tokens: Tokens, trace: Trace, ports: Ports, clock: SteadyClock
    ) -> None:
        self.machines = machines
        self._runner = runner
        self._tokens = tokens
        self._trace = trace
        self.ports = ports
        self.clock = clock
        self._policy = ports.network.policy("")
        self._clients: OrderedDict[Mac, BootClient] = OrderedDict()
        self._by_http: set[Mac] = set()
        """Those of them whose firmware asked for UEFI HTTP boot last: loaders ask from the same MAC after it."""
        self.expects: Callable[[str, Where], bool] = lambda _machine, _where: False
        """Says where a workflow is to carry out steps on a machine."""
        self._refusals = Refusals()
        self._strangers: dict[tuple[Asker, int | None, bool], Plan] = {}
        """Plans for unknown machines, which follow from their firmware alone."""
        self.told: Callable[[str], frozenset[str] | None] = lambda _machine: None
        """Gives the static addresses that the files of a machine's boot say; None where it has none yet."""
        self.sent_to: Callable[[], Iterable[str]] = tuple
        """Names the addresses that something to boot is sent to now."""
        runner.fetching = self.fetching
        self.arm: Arm | None = None
        """Makes the ticket of a boot whose bootenv has answer files (`answers.Answers`)."""

    def declares(self, machine: Machine | None, address: str) -> bool:
        """Say whether a machine is told, by its files or by its run's parameters, to take this static address."""
        if machine is None or machine.run is None or machine.run.step is None:
            return False
        told = self.told(machine.id)
        return address in (told if told is not None else self.declared(machine))

    def declared(self, machine: Machine) -> frozenset[str]:
        """Give the static addresses that the parameters of a machine's run say now."""
        run, catalogue = machine.run, self.ports.catalogue
        assert run is not None
        try:
            net = catalogue.params(catalogue.bootenv(run.bootenv), machine, run.params).values["net"]
            return frozenset(nics.declared(net))
        except (ConfigError, NotFoundError):  # it has changed since: what it declares is not known
            return frozenset()

    def decide(self, client: BootClient) -> Plan:
        """Say what a client boots. Called for every DHCP request: no I/O, and only what is new reaches the runner."""
        mac = client.mac
        machine = self._machine_of(mac, self._remember(mac, client))
        if self._refusals.knows(mac):
            client = self._with_evidence(client, machine)
        if machine is None:
            kind = (client.asker, client.arch, client.secure_boot)
            return self._strangers.get(kind) or self._plan_for_stranger(kind, client)
        direct = self._direct(client.mac, machine) if client.asker is Asker.HTTP else ""
        if _under_way(machine):
            client = client._replace(uuid=spelled(client))
        plan = next_boot(client, machine, self._policy, direct)
        if other_uuid(client, machine):
            return plan  # its run is told nothing of that
        if client.asker is not Asker.OS:
            self._runner.signal(machine, Signal.DHCP)
        self._runner.signal(machine, Signal.LOCAL)
        return plan

    def _direct(self, mac: Mac, machine: Machine) -> str:
        """Name the file that UEFI HTTP boot starts by itself for what is wanted of a machine; empty: there is none."""
        if machine.run is None or machine.run.step is None:
            return ""
        try:
            return direct_file(self._bootenv_of(machine), self.arch_of(mac))
        except (ConfigError, NotFoundError):  # the catalogue that it was in is not in use: DHCP answers all the same
            return ""

    def _with_evidence(self, client: BootClient, machine: Machine | None) -> BootClient:
        """Say of firmware that refused a loader that it wants signed ones, where there is one for it."""
        signed = SECURE_BOOT_LOADERS.get(-1 if client.arch is None else client.arch, "")
        if self._refusals.asks(client):
            what = f"it is given {signed}" if self.ports.network.serves(signed) else f"there is no {signed} to give it"
            text = f"the firmware did not start the loader that it fetched, as with Secure Boot: {what}"
            self._see(client.mac, machine, "boot.refused", text, ok=False)
        if not self._refusals.has_refused(client.mac) or not self.ports.network.serves(signed):
            return client
        return client._replace(secure_boot=True)

    def _plan_for_stranger(self, kind: tuple[Asker, int | None, bool], client: BootClient) -> Plan:
        if len(self._strangers) >= PLANS_LIMIT:
            self._strangers.clear()
        plan = self._strangers[kind] = next_boot(client, None, self._policy)
        return plan

    def _remember(self, mac: Mac, client: BootClient) -> BootClient:
        """Keep who asked last from this MAC; what is known of it."""
        clients = self._clients
        if client.asker is Asker.HTTP:
            self._by_http.add(mac)
        elif client.asker is Asker.PXE:
            self._by_http.discard(mac)
        before = clients.get(mac)
        if before is None:
            clients[mac] = client
            if len(clients) > CLIENTS_LIMIT:
                self._by_http.discard(clients.popitem(last=False)[0])
            return client
        if client.asker is Asker.OS:  # an operating system does not tell its firmware's architecture
            client = before._replace(asker=Asker.OS)
        clients[mac] = client
        clients.move_to_end(mac)
        return client

    def machine_of(self, mac: Mac) -> Machine | None:
        """Find the machine behind a MAC; one whose ports nobody has seen yet by the UUID that its firmware sent."""
        return self._machine_of(mac, self._clients.get(mac))

    def _machine_of(self, mac: Mac, client: BootClient | None) -> Machine | None:
        machine = self.machines.by_mac(mac)
        if machine is None and self.machines.without_ports and client is not None and client.uuid:
            machine = self.machines.by_uuid(spelled(client) or "")
            if machine is not None and machine.macs:
                return None  # its ports are known, and this is none of them: a UUID alone proves nothing
        return machine

    def serves(self, address: str) -> bool:
        """Say whether whoever holds an address is given artefacts: not what installs for a run that was ended."""
        mac = self.ports.network.lease_of(address)
        machine = self.machine_of(mac) if mac is not None else None
        if mac is None or machine is None or machine.run is None or not is_to_stop(machine, machine.run.id):
            return True
        plan = next_boot(BootClient(mac, Asker.IPXE), machine, self.ports.network.policy(address))
        return isinstance(plan, RunScript)

    def fetching(self) -> frozenset[str]:
        """Give the ids of machines that are being sent what they boot."""
        macs = {self.ports.network.lease_of(address) for address in self.sent_to()}
        found = (self.machine_of(mac) for mac in macs if mac is not None)
        return frozenset(each.id for each in found if each is not None)

    def loader_fetched(self, mac: Mac, name: str) -> None:
        """Hear that a machine has its loader, the file of this name."""
        client = self._clients.get(mac)
        if client is not None:
            self._refusals.fetched(client, name)
        machine = self.machine_of(mac)
        if machine is None:
            return
        self._runner.signal(machine, Signal.LOADER)
        if name in MADE_OF or name == self._direct(mac, machine):  # nothing that it runs asks for a script
            self._runner.signal(machine, Signal.SCRIPT)

    async def script(self, mac: Mac, address: str, dialect: Dialect) -> bytes:
        """Write the boot script of a machine, for the address that its MAC holds a lease for, and no other."""
        machine = self.machine_of(mac)
        if self.ports.network.lease_of(address) != mac:
            self._see(mac, machine, "http.script.refused", f"{address} asked for the script of {mac}", ok=False)
            raise NotFoundError(f"there is no such boot script: {address} holds no lease of {mac}")
        self._refusals.started(mac)
        asker = Asker.IPXE if dialect in (Dialect.IPXE, Dialect.IPXE_HTTPS) else Asker.GRUB
        bootenv = self._to_start(mac, machine, address, asker)
        if not isinstance(bootenv, Bootenv):
            return self._local(mac, machine, bootenv, dialect)
        record = await self.record(mac, machine, bootenv, address, by_https=dialect == Dialect.IPXE_HTTPS)
        self._see(mac, machine, "http.script", f"boot script: {record.title}")
        if machine is not None:  # known before an octet leaves: what boots may never say anything again
            now = await self._runner.apply(machine.id, Seen(Signal.SCRIPT))
            if _under_way(machine) not in ("", _under_way(now)):
                return self._local(mac, now, LocalDisk("its run was ended meanwhile"), dialect)
        return write(record, dialect).encode()

    def system_on_disc(self, mac: Mac, address: str) -> Bootenv:
        """Say which system goes onto the CD that a machine's firmware fetches; raise `NotFoundError` for none."""
        machine = self.machine_of(mac)
        found = self._to_start(mac, machine, address, Asker.GRUB)
        if not isinstance(found, Bootenv):
            raise NotFoundError(f"there is no such CD: {found.reason}")
        if any(files.injects for files in found.arch.values()):
            self._see(
                mac, machine, "http.disc.unfit", f"{found.name} takes files that only a loader hands over", ok=False
            )
            raise NotFoundError(f"there is no such CD: {found.name} does not start from one")
        return found

    def _to_start(self, mac: Mac, machine: Machine | None, address: str, asker: Asker) -> Bootenv | Plan:
        """Say what a machine starts, now that a loader or a CD is asked for; else what its plan is instead."""
        client = self._clients.get(mac, BootClient(mac, Asker.IPXE))
        client = client._replace(asker=asker, uuid=spelled(client))
        plan = next_boot(client, machine, self.ports.network.policy(address))
        if not isinstance(plan, RunScript):
            self._see(mac, machine, "http.script", f"boot script: local disk ({plan.reason})")
            return plan
        bootenv = self._bootenv_of(machine)
        if missing := self.ports.artifacts.missing(bootenv, self.arch_of(mac)):
            self._see(mac, machine, "http.script.missing", missing[0], ok=False)
            return LocalDisk(f"{bootenv.name} is not complete on the server")
        return bootenv

    def _local(self, mac: Mac, machine: Machine | None, plan: Plan, dialect: Dialect) -> bytes:
        if isinstance(plan, NoBoot):
            raise NotFoundError(f"there is no such boot script: none for {mac}: {plan.reason}")
        return leave(plan.reason, dialect, self._on_disk(machine)).encode()

    def _on_disk(self, machine: Machine | None) -> OnDisk:
        """Say where the loader is of what is on a machine's disk, or is being put there."""
        if machine is None:
            return NOWHERE
        catalogue = self.ports.catalogue
        known = catalogue.names()
        for name in (machine.run.bootenv if _under_way(machine) and machine.run else "", machine.bootenv):
            if name in known and (bootenv := catalogue.bootenv(name)).kind in MADE:
                return OnDisk(bootenv.efi_folder, efi_mark(machine.id, bootenv.name) if bootenv.job else "")
        return NOWHERE

    def _bootenv_of(self, machine: Machine | None) -> Bootenv:
        """Say which bootenv a machine starts from the network: its own, or the discovery system that installs it."""
        catalogue = self.ports.catalogue
        if machine is None or machine.run is None or machine.run.step is None:
            return catalogue.bootenv(DISCOVERY)
        return starts_with(catalogue, catalogue.bootenv(machine.run.bootenv or DISCOVERY))

    async def record(
        self, mac: Mac, machine: Machine | None, bootenv: Bootenv, address: str, *, by_https: bool = False
    ) -> BootRecord:
        """Say what a machine is to start, with a token of its own that is good from `address`.

        `by_https`: its loader fetches what it starts so. What is started speaks to us by HTTP.
        """
        arch = self.arch_of(mac)
        files = bootenv.arch.get(arch)
        if files is None or not files.kernel:
            raise ProvisionerError(f"{bootenv.name} has nothing to boot for {arch}")
        run = _under_way(machine) if machine is not None else ""
        owner = machine.id if machine else ""
        now, ticket = self.clock.now(), ""
        if asks_for_answers(bootenv) and machine is not None and run and self.arm is not None:
            ticket, token = await self.arm(machine, mac, bootenv, address, now)
        else:
            token = await self._tokens.mint(Purpose.AGENT, mac, owner, run, address, now)
        boot = self.boot_of(mac, bootenv, address, token=token, ticket=ticket)
        given = machine.run.params if machine is not None and machine.run is not None and run else {}
        args = await self.ports.catalogue.kernel_args(Occasion(bootenv, subject_of(machine), boot, given))
        base = self.ports.network.tls_url(address) if by_https else boot.base
        return record_of(bootenv, arch, (base, ticket), machine.name if machine else str(mac), args)

    def boot_of(
        self, mac: Mac, bootenv: Bootenv, address: str, *, token: str = "", phone_home: str = "", ticket: str = ""
    ) -> Boot:
        """Gather what templates see of one boot."""
        base, arch, stored, steps = self.ours(mac, bootenv, address)
        return Boot(base, mac, arch, "", address, token, ticket, phone_home, stored, steps)

    def ours(self, mac: Mac, bootenv: Bootenv, address: str) -> Ours:
        """Gather what we have for one boot."""
        arch = self.arch_of(mac)
        stored = self.ports.artifacts.stored(bootenv, arch)
        machine = self.machines.by_mac(mac)
        places = (Where.INSTALLER, Where.SYSTEM) if machine is not None else ()
        steps = tuple([str(where) for where in places if machine is not None and self.expects(machine.id, where)])
        return Ours(self.ports.network.base_url(address), arch, stored, steps)

    def arch_of(self, mac: Mac) -> str:
        """Name the architecture of a machine as its firmware told it, or as was found by discovery."""
        client = self._clients.get(mac)
        if client is not None and client.arch is not None:
            return arch_name(client.arch)
        return arch_by_facts(self.machines.by_mac(mac))

    def way_of(self, mac: Mac) -> str:
        """Say by which network boot a machine's firmware asked last (`Machine.boot_via`)."""
        return "http" if mac in self._by_http else "pxe"

    def _see(self, mac: Mac, machine: Machine | None, event: str, text: str, ok: bool = True) -> None:
        owner, run = (machine.id, machine.run.id if machine.run else "") if machine else ("", "")
        self._trace.note(TraceLine(NOW, Channel.HTTP, event, text, mac, owner, run, ok))


def _under_way(machine: Machine) -> str:
    """Name the run of a machine that is under way; empty where none is."""
    return machine.run.id if machine.run is not None and machine.run.step is not None else ""
