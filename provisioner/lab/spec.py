"""What a rack consists of, as values: machines, addresses, files; and the file that remembers it. No I/O."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from provisioner.errors import LabError
from provisioner.lab.accel import Accelerator
from provisioner.lab.hardware import GIB, Firmware, Identity
from provisioner.model.bmc import Driver
from provisioner.model.net import Mac

DEFAULT_NAME = "provlab"
DEFAULT_STATE = Path("/var/lib/provisioner-lab")
FIRST = 17
USUAL = 3
"""Machines of a rack of which no number was asked: one of each of `KINDS`."""
MOST = 200
"""Machines get the addresses from .17 on in the network of the BMCs."""
MOST_DISKS, MOST_PORTS, MOST_CPUS = 8, 8, 8
LEAST_BYTES = 256 << 20
"""Of memory and of a disk: with less, no kernel of a distribution starts."""
NETWORK = ipaddress.IPv4Network("10.77.0.0/24")
GATEWAY = "10.77.0.1"
GATEWAY6 = "fd77::1"
NETWORK6 = ipaddress.IPv6Network("fd77::/64")
BMC_NETWORK = ipaddress.IPv4Network("10.77.1.0/24")
USERNAME = "admin"
KINDS = (Firmware.BIOS, Firmware.UEFI_PXE, Firmware.UEFI_HTTP)
DRIVERS = {kind: Driver.IPMI if kind is Firmware.BIOS else Driver.REDFISH for kind in Firmware}
MODELS = {
    Firmware.BIOS: "Virtual Rack Machine B",
    Firmware.UEFI_PXE: "Virtual Rack Machine U",
    Firmware.UEFI_HTTP: "Virtual Rack Machine H",
    Firmware.UEFI_PXE6: "Virtual Rack Machine U6",
    Firmware.UEFI_HTTP6: "Virtual Rack Machine H6",
    Firmware.UEFI_SECURE: "Virtual Rack Machine S",
    Firmware.UEFI_SECURE_HTTP: "Virtual Rack Machine SH",
    Firmware.UEFI_ARM64: "Virtual Rack Machine A",
}


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """One machine of the rack and its BMC. `driver` is how the daemon is told to reach it; the BMC speaks both."""

    identity: Identity
    tap: str
    bmc_address: str
    bmc_mac: Mac
    driver: Driver
    password: str

    @property
    def boot_via(self) -> str:
        """How it boots from the network, in the words of `model.machine.Machine`."""
        return "http" if self.identity.firmware.is_http else "pxe"


@dataclass(frozen=True, slots=True)
class RackSpec:
    """The whole rack."""

    name: str
    state: Path
    machines: tuple[MachineSpec, ...]
    accelerator: Accelerator

    @property
    def ipv6(self) -> bool:
        """Whether the machines boot over IPv6, and the daemon serves nothing else."""
        return any(machine.identity.firmware.is_ipv6 for machine in self.machines)

    def machine(self, name: str) -> MachineSpec:
        """Find a machine; raise `LabError`."""
        found = next((one for one in self.machines if one.identity.name == name), None)
        if found is None:
            names = ", ".join(one.identity.name for one in self.machines)
            raise LabError(f"{name}: no such machine in the rack {self.name}", hint=f"there are {names}")
        return found

    @property
    def control(self) -> Path:
        """The supervisor's socket."""
        return self.state / "control.sock"

    @property
    def api(self) -> Path:
        """The daemon's socket, as seen from the host."""
        return self.state / "api.sock"

    @property
    def catalogue(self) -> Path:
        """The user's own bootenvs/ and templates/ for this rack."""
        return self.state / "catalogue"

    @property
    def loaders(self) -> Path:
        """Boot loaders beside those of the host's packages: the rack has no network to fetch any."""
        return self.state / "loaders"

    def root_of(self, machine: MachineSpec) -> Path:
        """Where the machine keeps disk, NVRAM and console log."""
        return self.state / "machines" / machine.identity.name


def state_of(name: str) -> Path:
    """The directory of a rack: the default one's is where `provisionctl` looks by itself."""
    return DEFAULT_STATE if name == DEFAULT_NAME else DEFAULT_STATE.with_name(f"{DEFAULT_STATE.name}-{name}")


def name_of(state: Path) -> str:
    """The name of the rack in a directory: `state_of` backwards."""
    return DEFAULT_NAME if state == DEFAULT_STATE else state.name.removeprefix(f"{DEFAULT_STATE.name}-")


def line(verb: str, name: str) -> str:
    """A command of `provisionctl` about this very rack: what a hint names is typed as it stands."""
    return f"provisionctl lab {verb}{'' if name == DEFAULT_NAME else f' --name {name}'}"


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked of every machine of a rack. None asks for nothing: it is what an `Identity` has by itself."""

    disks: int | None = None
    ports: int | None = None
    cpus: int | None = None
    """Under plain emulation a second one costs more than it brings, as emulated processors lock what they share:
    discovery takes 13.4 s of the host's processors with two and 10.2 s with one (Linux 6.1, QEMU 7.2)."""
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    kinds: tuple[Firmware, ...] = ()
    """The firmware of the machines, in turn; empty: not asked, and `KINDS` in a new rack."""

    @property
    def sizes(self) -> dict[str, Any]:
        """The fields of an `Identity` that were asked for."""
        sizes = {
            "disks": self.disks,
            "cpus": self.cpus,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
        }
        return {name: value for name, value in sizes.items() if value is not None}


def plan(
    name: str,
    state: Path,
    count: int,
    accelerator: Accelerator,
    secret: Callable[[], str],
    shape: Shape = Shape(),
) -> RackSpec:
    """Lay out a rack of `count` machines, the kinds in turn; raise `LabError`."""
    if not 1 <= count <= MOST:
        raise LabError(f"--machines {count}: a rack holds 1 to {MOST}")
    if len({kind.is_ipv6 for kind in shape.kinds}) > 1:
        raise LabError("a rack boots over IPv4 or over IPv6, not both", hint="two racks: --name")
    machines = tuple(_machine(number, secret(), shape) for number in range(FIRST, FIRST + count))
    _sound(machines[0].identity)
    return RackSpec(name, state, machines, accelerator)


def _sound(one: Identity) -> None:
    """Refuse a machine that cannot be built; raise `LabError`."""
    if not (1 <= one.disks <= MOST_DISKS and 1 <= len(one.macs) <= MOST_PORTS):
        raise LabError(f"a machine has 1 to {MOST_DISKS} disks and 1 to {MOST_PORTS} ports")
    if not 1 <= one.cpus <= MOST_CPUS:
        raise LabError(f"a machine has 1 to {MOST_CPUS} processors")
    if min(one.memory_bytes, one.disk_bytes) < LEAST_BYTES:
        raise LabError(f"memory and disks of a machine have {LEAST_BYTES >> 20} MiB at the least")


def _machine(number: int, password: str, shape: Shape) -> MachineSpec:
    kinds = shape.kinds or KINDS
    firmware = kinds[(number - FIRST) % len(kinds)]
    digits = f"{number // 100:02d}:{number % 100:02d}"
    identity = Identity(
        name=f"node{number}",
        uuid=f"77000000-0000-4000-8000-{number:012d}",
        serial=f"LAB{number:04d}",
        macs=(
            Mac(f"52:54:00:77:{digits}"),
            *(Mac(f"52:54:0{port}:77:{digits}") for port in range(1, shape.ports or 1)),
        ),
        firmware=firmware,
        model=MODELS[firmware],
        **shape.sizes,
    )
    address = str(BMC_NETWORK[number])
    bmc_mac = Mac(f"52:54:00:78:{digits}")
    return MachineSpec(identity, f"tap{number}", address, bmc_mac, DRIVERS[firmware], password)


def differences(rack: RackSpec, count: int | None, shape: Shape) -> list[str]:
    """Say what a rack has otherwise than is asked, option by option; what is not asked (None) does not differ."""
    machine, kinds = rack.machines[0].identity, [one.identity.firmware for one in rack.machines]
    asked = [shape.kinds[at % len(shape.kinds)] for at in range(len(kinds))] if shape.kinds else kinds
    rows = (
        ("--machines", len(rack.machines), count, str),
        ("--disks", machine.disks, shape.disks, str),
        ("--ports", len(machine.macs), shape.ports, str),
        ("--cpus", machine.cpus, shape.cpus, str),
        ("--memory", machine.memory_bytes, shape.memory_bytes, _gib),
        ("--disk-size", machine.disk_bytes, shape.disk_bytes, _gib),
    )
    found = [f"{name} {say(has)}, not {say(wanted)}" for name, has, wanted, say in rows if wanted not in (None, has)]
    return found + ([f"--kinds {','.join(_turn(kinds))}, not {','.join(shape.kinds)}"] if asked != kinds else [])


def _turn(kinds: Sequence[Firmware]) -> Sequence[Firmware]:
    """The shortest list that, repeated, gives the firmware of all machines."""
    return next(
        kinds[:n] for n in range(1, len(kinds) + 1) if all(kinds[at] == kinds[at % n] for at in range(len(kinds)))
    )


def _gib(octets: int) -> str:
    return f"{octets / GIB:g}GiB"


def encode(spec: RackSpec) -> str:
    """Write the rack down."""
    return json.dumps(asdict(spec) | {"state": str(spec.state)}, indent=2)


def decode(text: str) -> RackSpec:
    """Read what `encode` wrote; raise `LabError`."""
    try:
        found = json.loads(text)
        machines = tuple(_decode_machine(one) for one in found["machines"])
        accelerator = Accelerator(**found["accelerator"])
        return RackSpec(found["name"], Path(found["state"]), machines, accelerator)
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"the rack's record is damaged: {error}") from error


def _decode_machine(found: dict[str, object]) -> MachineSpec:
    identity = dict(found["identity"])  # type: ignore[call-overload]
    identity["macs"] = tuple(identity["macs"])
    identity["firmware"] = Firmware(identity["firmware"])
    rest = found | {"identity": Identity(**identity), "driver": Driver(str(found["driver"]))}
    return MachineSpec(**rest)  # type: ignore[arg-type]
