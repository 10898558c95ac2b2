"""What the conductor needs of the parts beside it. No I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from provisioner.boot.files import ServedFile
from provisioner.boot.plan import BootPolicy
from provisioner.catalog.context import Occasion, Stored
from provisioner.catalog.kept import Stamp
from provisioner.catalog.params import Resolved
from provisioner.dhcp.asking import Ask
from provisioner.dhcp.foretell import Foretold
from provisioner.errors import TicketError
from provisioner.model.artifact import Inspected
from provisioner.model.bmc import BmcAddress, BmcIdentity, BootTarget, Power
from provisioner.model.boot import BootClient, Place, Plan
from provisioner.model.catalog import AnswerFile, Bootenv
from provisioner.model.facts import Facts, SwitchPort
from provisioner.model.machine import Machine
from provisioner.model.net import Mac
from provisioner.model.workflow import Where


class Bmcs(Protocol):
    """All BMCs. Every call raises a `BmcError`; a change returns when its end state was read back."""

    async def identify(self, address: BmcAddress, password: str) -> BmcIdentity: ...

    async def whose(self, address: BmcAddress, password: str) -> BmcIdentity:
        """No more of it than tells it from others."""

    async def meet(self, address: BmcAddress, password: str) -> BmcIdentity:
        """The same in the turn of a change."""

    async def fingerprint(self, address: BmcAddress) -> str: ...

    async def power(self, address: BmcAddress, password: str) -> Power: ...

    async def set_power(self, address: BmcAddress, password: str, wanted: Power) -> None: ...

    async def reset(self, address: BmcAddress, password: str) -> None: ...

    async def boot_once(
        self, address: BmcAddress, password: str, target: BootTarget, *, uefi: bool | None = None
    ) -> None: ...

    async def boot_always(
        self, address: BmcAddress, password: str, target: BootTarget, *, uefi: bool | None = None
    ) -> None: ...

    async def order(self, verb: str, logins: Sequence[tuple[BmcAddress, str]]) -> Sequence[tuple[BmcAddress, str]]:
        """Put the ways to one board in order for a verb, by what was proven; those that failed it are left out."""

    async def do(self, address: BmcAddress, password: str, name: str, /, **given: Any) -> Any:
        """Do any verb by its name."""

    async def forget(self, address: BmcAddress) -> None:
        """Close what is open to this BMC: its password changed or its machine is gone."""

    async def leave(self, address: BmcAddress) -> None:
        """The same of one that was only tried: what is known of it otherwise stays."""


class Catalogue(Protocol):
    """Bootenvs, and what is rendered of them for one machine."""

    def bootenv(self, name: str) -> Bootenv: ...

    def names(self) -> Sequence[str]: ...

    def params(self, bootenv: Bootenv, machine: Machine | None, boot: Mapping[str, Any]) -> Resolved:
        """Resolve the parameters of one boot."""

    def references(self, bootenv: Bootenv, machine: Machine | None, boot: Mapping[str, Any]) -> Sequence[str]:
        """Name the secrets that the files of one boot need."""

    async def kernel_args(self, occasion: Occasion) -> str: ...

    def kept_answer(self, answer: AnswerFile, machine: Machine, stamp: Stamp) -> bytes | None:
        """Give an answer file that was asked for under this stamp before; None where `answer` has to look closer."""

    async def answer(self, occasion: Occasion, answer_id: str, stamp: Stamp | None = None) -> bytes:
        """Render an answer file. `stamp` is what the occasion follows from, where that is known."""

    def context(self, occasion: Occasion) -> dict[str, Any]:
        """Build what templates see; raise `RenderError` where the machine cannot become what is asked."""


class Artifacts(Protocol):
    """The artefacts that are in store, whole and checked."""

    def stored(self, bootenv: Bootenv, arch: str) -> Mapping[str, Stored]:
        """What templates are told of them: the very same mapping as long as nothing of it differs."""

    def missing(self, bootenv: Bootenv, arch: str) -> Sequence[str]:
        """Name what a boot needs and the store has not, each with the command that gets it."""

    async def inspect(self, bootenv: Bootenv, arch: str) -> Sequence[Inspected]:
        """List what a boot needs as it is in store now; what machines boot from is read again."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What is made of the report of a discovery system.

    `decode` reads the raw report (`WireError` where it is none). `identify` finds the one of these machines that it is
    about, None for a new one; raises `ConflictError` where it could be several. `doubt` says why it is not about the
    machine as which its sender was booted. Both are told by which port that was. `classify` names the hardware profile
    and says why.
    """

    decode: Callable[[bytes, float], Facts]
    identify: Callable[[Facts, Sequence[Machine], Mac], Machine | None]
    doubt: Callable[[Facts, Machine, Sequence[Machine], Mac], str]
    classify: Callable[[Facts], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Network:
    """What DHCP and HTTP know. `base_url(address)` is our URL as a machine at that address reaches it; `lease_of` the
    MAC that holds a lease for an address, `policy` what is set for the subnet that it is in ("": for all), `serves`
    whether there is a file of a name.
    """

    base_url: Callable[[str], str]
    lease_of: Callable[[str], Mac | None]
    policy: Callable[[str], BootPolicy]
    tls_url: Callable[[str], str] = lambda _address: ""
    """The same by HTTPS, where that is served."""
    http_port: int = 8080
    serves: Callable[[str], bool] = lambda _name: True
    port_of: Callable[[str], SwitchPort | None] = lambda _address: None
    """Where the machine at an address is plugged in, as its relay said."""
    address_of: Callable[[Mac], str] = lambda _mac: ""
    """The address that a hardware address holds now."""
    file: Callable[[str], ServedFile | None] = lambda _name: None
    """The file that is served under a name."""
    foretell: Callable[[Ask, Callable[[BootClient], Plan]], Sequence[Foretold]] | None = None
    """What DHCP would say to a machine; None where there is no DHCP."""
    place_of: Callable[[Mac], Place | None] = lambda _mac: None
    """The address that is reserved for a port, with what it has to know of its network."""


class Flows(Protocol):
    """What workflows want of machines; `workflow.machines.FlowAgents` is the real one.

    `by` is the digest of the token that something on a machine holds. Every call raises `TicketError` for what is not
    to be had, `StoreError` where nothing can be kept.
    """

    def is_ours(self, job: str) -> bool:
        """Say whether a job is a step of a workflow."""

    def expects(self, machine: str, where: Where) -> bool:
        """Say whether a machine is still to carry out a step there."""

    def beat(self, machine: Machine, by: str) -> bool:
        """Hear that something on a machine works; say whether that is a step of a workflow that may go on."""

    def free(self, machine: Machine) -> Machine:
        """Return a machine on which no script of a workflow can be at work; raise `ConflictError`."""

    def reported(self, machine: str) -> None:
        """Hear that the discovery system of a machine runs."""

    def restarted(self, machine: str) -> None:
        """Hear that a machine was switched by hand: whatever ran on it does not."""

    async def next(self, machine: Machine, where: Where, by: str) -> str | None:
        """Say what something on a machine is to do now; None where there is nothing."""

    async def job(self, machine: Machine, job: str, by: str) -> bytes: ...

    async def output(self, machine: Machine, job: str, place: int, text: bytes) -> None: ...

    async def done(self, machine: Machine, job: str, status: int, message: str) -> None: ...


class NoFlows:
    """Workflows of a daemon that has none."""

    def is_ours(self, job: str) -> bool:
        return False

    def expects(self, machine: str, where: Where) -> bool:
        return False

    def beat(self, machine: Machine, by: str) -> bool:
        return False

    def free(self, machine: Machine) -> Machine:
        return machine

    def reported(self, machine: str) -> None:
        return

    def restarted(self, machine: str) -> None:
        return

    async def next(self, machine: Machine, where: Where, by: str) -> str | None:
        return None

    async def job(self, machine: Machine, job: str, by: str) -> bytes:
        raise TicketError("this job is not to be had")

    async def output(self, machine: Machine, job: str, place: int, text: bytes) -> None:
        raise TicketError("this job is not to be had")

    async def done(self, machine: Machine, job: str, status: int, message: str) -> None:
        return


async def no_secrets(references: Sequence[str]) -> Mapping[str, str]:
    """Know no secret at all."""
    return {}


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything beside the store."""

    bmcs: Bmcs
    catalogue: Catalogue
    artifacts: Artifacts
    discovery: Discovery
    network: Network
    secrets: Callable[[Sequence[str]], Awaitable[Mapping[str, str]]] = no_secrets
    """Look up what parameters point at (`store:NAME` ...); raises `RenderError` where one cannot be had.

    The very same mapping is given again as long as no value in it differs.
    """
