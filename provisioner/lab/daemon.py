"""The daemon inside the rack: its configuration, its process, and how it gets to know the rack's machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from provisioner.boot.trust import FORMATS
from provisioner.errors import LabError
from provisioner.lab import namespace, process
from provisioner.lab.hardware import Firmware
from provisioner.lab.qemu import Files
from provisioner.lab.spec import GATEWAY, GATEWAY6, NETWORK, NETWORK6, USERNAME, MachineSpec, RackSpec

START_S = 180.0
"""Its imports alone take 3 s of the processor: half a minute of a slow and busy one. One that ends is seen at once."""
TLS_PORT = 8443
PORTS = {"ipmi": 623, "redfish": 443}
POOL = f"{NETWORK[100]}-{NETWORK[199]}"
POOL6 = f"{NETWORK6[0x1000]}-{NETWORK6[0x1FFF]}"


TIMER = "no_timer_check"
"""Linux looks whether the timer's interrupt comes, and panics where it does not: on a busy computer an emulated one may
be late. Under KVM it does not look (Documentation/admin-guide/kernel-parameters.txt)."""
CRYPTO = "cryptomgr.notests"
"""Linux tries each of its ciphers when it is first there: an eighth of a boot (9.6 s against 8.5 s, discovery)."""
LAYOUT = "norandmaps"
"""Each program has its libraries where the one before it had them: what QEMU translated of them for one serves all.
A twelfth of a boot of the discovery system, a sixth of one of Debian (29.0 s of processor time against 24.2 s)."""


class Api(Protocol):
    """The operator API, as far as the rack needs it (`cli.client.Client`)."""

    def get(self, path: str) -> Any: ...
    def post(self, path: str, body: dict[str, Any], *, slow: bool) -> Any: ...


def configuration(rack: RackSpec) -> dict[str, Any]:
    """What `provisionerd` is told: it serves the rack's bridge and nothing else."""
    dhcp = {"subnets6": [_subnet6(rack)]} if rack.ipv6 else {"subnets": [_subnet(rack)]}
    return {
        "store": {"state_dir": str(rack.state / "daemon")},
        "api": {"socket": str(rack.api)},
        "dhcp": dhcp,
        "http": {"tls_port": TLS_PORT},
        "catalogue": {"loaders": [str(rack.loaders)], "paths": [str(rack.catalogue)]},
    }


def _subnet(rack: RackSpec) -> dict[str, Any]:
    return {
        "network": str(NETWORK),
        "name": rack.name,
        "interface": namespace.BRIDGE,
        "pools": [POOL],
        "dns": [GATEWAY],
        "domain": "lab.internal",
        "router_advertisements": True,
    }


def _subnet6(rack: RackSpec) -> dict[str, Any]:
    return {
        "network": str(NETWORK6),
        "name": rack.name,
        "interface": namespace.BRIDGE,
        "pools": [POOL6],
        "dns": [GATEWAY6],
        "search": ["lab.internal"],
        "router_advertisements": True,
    }


def start(rack: RackSpec, say: Callable[[str], None]) -> process.Recorded:
    """Start the daemon, or find it running; returns when its API answers. Raise `LabError`."""
    record = record_of(rack.state)
    running = process.recall(record)
    if running is None:
        say("starting the daemon")
        running = _spawn(rack, record)
    else:
        say("the daemon runs already")
    if not process.wait_until(lambda: rack.api.is_socket() or not running.is_alive, START_S) or not running.is_alive:
        raise LabError(f"the daemon did not start: {last_line(log_of(rack))}", hint=f"read {log_of(rack)}")
    trust(rack, (rack.state / "daemon" / "tls" / "ca.pem").read_text())
    return running


def trust(rack: RackSpec, certificate: str) -> None:
    """Enrol a CA (PEM) in the firmware of the machines that boot by HTTP, in place of the one before."""
    for machine in rack.machines:
        if machine.identity.firmware.is_http:
            enrolled = Files(rack.root_of(machine)).trusted
            enrolled.parent.mkdir(parents=True, exist_ok=True)
            enrolled.write_bytes(FORMATS["esl"](certificate))


def _spawn(rack: RackSpec, record: Path) -> process.Recorded:
    rack.api.unlink(missing_ok=True)
    config = rack.state / "provisioner.yaml"
    # JSON is YAML: the file stays readable, and the reader of the configuration is the only home of YAML.
    config.write_text(json.dumps(configuration(rack), indent=2))
    rack.catalogue.mkdir(exist_ok=True)
    rack.loaders.mkdir(exist_ok=True)
    (rack.state / "daemon").mkdir(exist_ok=True)
    command = namespace.inside(rack.name, sys.executable, "-m", "provisioner.entry", "--config", str(config))
    return process.spawn(command, log_of(rack), record)


def stop(rack_state: Path, say: Callable[[str], None] = lambda _: None) -> None:
    """End the daemon, if it runs."""
    running = process.recall(record_of(rack_state))
    if running is not None:
        say("stopping the daemon")
        process.end(running)


def record_of(rack_state: Path) -> Path:
    """Where its process is written down, while it runs."""
    return rack_state / "daemon.json"


def log_of(rack: RackSpec) -> Path:
    return rack.state / "daemon.log"


def last_line(path: Path) -> str:
    """The end of a log, for an error message; without the frame that Python draws around several exceptions."""
    text = path.read_text(errors="replace") if path.exists() else ""
    lines = [line.strip(" |+-") for line in text.splitlines()]
    return next((line for line in reversed(lines) if line and not line.endswith("----")), "it said nothing")


def enrol(api: Api, machine: MachineSpec) -> bool:
    """Put a machine on the daemon's record; says whether it was new there."""
    names = {known["name"] for known in api.get("/v1/machines")["machines"]}
    if machine.identity.name in names:
        return False
    api.post("/v1/machines", enrolment(machine), slow=True)
    return True


def enrolment(machine: MachineSpec) -> dict[str, Any]:
    """The body of `POST /v1/machines`."""
    timer = [] if machine.identity.firmware is Firmware.UEFI_ARM64 else [TIMER]
    bmc = {
        "driver": machine.driver.value,
        "host": machine.bmc_address,
        "port": PORTS[machine.driver.value],
        "username": USERNAME,
        "password": machine.password,
    }
    return {
        "name": machine.identity.name,
        "bmc": bmc,
        "macs": list(machine.identity.macs),
        "boot_via": machine.boot_via,
        "params": {"kernel.args": [*timer, CRYPTO, LAYOUT]},
    }
