"""DHCP servers that are there already, as Debian ships them: what we serve beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Existing(NamedTuple):
    """A program that gives addresses, and what it says when it does so."""

    command: list[str]
    environment: dict[str, str]
    ready: str


def dnsmasq(folder: Path, port: str, network: str) -> Existing:
    """dnsmasq, on one port, with the addresses from .200 on of a /24 such as 10.61.0."""
    command = [
        "dnsmasq", "-k", "-C", "/dev/null", "--port=0", "--bind-interfaces", "--except-interface=lo", "--user=root",
        "--no-ping", "--pid-file=", f"--dhcp-leasefile={folder / 'dnsmasq.leases'}", "--log-facility=-", "--log-dhcp",
        f"--interface={port}", f"--dhcp-range={network}.200,{network}.250,255.255.255.0,1h",
    ]  # fmt: skip
    return Existing(command, {}, "sockets bound exclusively")


def kea(folder: Path, port: str, network: str) -> Existing:
    """Kea, the same."""
    log = {"output": "stdout", "flush": True}
    config: dict[str, Any] = {
        "interfaces-config": {"interfaces": [port]},
        "lease-database": {"type": "memfile", "persist": False},
        "valid-lifetime": 3600,
        "subnet4": [
            {"id": 1, "subnet": f"{network}.0/24", "pools": [{"pool": f"{network}.200 - {network}.250"}]},
        ],
        "loggers": [{"name": "kea-dhcp4", "severity": "INFO", "output_options": [log]}],
    }
    file = folder / "kea.json"
    file.write_text(json.dumps({"Dhcp4": config}))
    environment = {"KEA_PIDFILE_DIR": str(folder), "KEA_LOCKFILE_DIR": "none", "KEA_DHCP_DATA_DIR": str(folder)}
    return Existing(["kea-dhcp4", "-c", str(file)], environment, "DHCP4_STARTED")


EXISTING: dict[str, Callable[[Path, str, str], Existing]] = {"dnsmasq": dnsmasq, "kea": kea}
