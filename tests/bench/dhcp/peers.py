"""Kea and dnsmasq as Debian ships them, told to answer the same request with the same options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.dhcp.wire import NETWORK, POOL, SERVER, Wire

OPTIONS = {
    "routers": SERVER,
    "domain-name-servers": f"{SERVER}, {SERVER}",
    "domain-name": "example.tst",
    "host-name": "node01",
    "ntp-servers": SERVER,
    "tftp-server-name": SERVER,
    "boot-file-name": "ipxe.efi",
    "broadcast-address": "10.99.255.255",
}


def kea(it: Wire, folder: Path, *, threads: int = 2) -> tuple[list[str], dict[str, str]]:
    """Kea with its memfile backend (persistent, which never syncs), multi-threaded on both cores."""
    config: dict[str, Any] = {
        "interfaces-config": {"interfaces": [it.server_port], "dhcp-socket-type": "udp"},
        "lease-database": {"type": "memfile", "persist": True, "name": str(folder / "kea.csv"), "lfc-interval": 0},
        "multi-threading": {"enable-multi-threading": True, "thread-pool-size": threads, "packet-queue-size": 256},
        "valid-lifetime": 3600,
        "renew-timer": 1800,
        "rebind-timer": 3150,
        "option-data": [{"name": name, "data": data, "always-send": True} for name, data in OPTIONS.items()],
        "subnet4": [{"id": 1, "subnet": NETWORK, "pools": [{"pool": POOL.replace("-", " - ")}]}],
        "loggers": [
            {"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": str(folder / "kea.log")}]}
        ],
    }
    file = folder / "kea.json"
    file.write_text(json.dumps({"Dhcp4": config}))
    return ["kea-dhcp4", "-c", str(file)], {"KEA_PIDFILE_DIR": str(folder), "KEA_LOCKFILE_DIR": "none"}


def dnsmasq(it: Wire, folder: Path) -> tuple[list[str], dict[str, str]]:
    """dnsmasq with a lease file, without its ping and its DNS."""
    low, high = POOL.split("-")
    options = [
        f"--dhcp-range={low},{high},255.252.0.0,1h",
        f"--interface={it.server_port}",
        f"--dhcp-leasefile={folder / 'dnsmasq.leases'}",
        f"--dhcp-option=3,{SERVER}",
        f"--dhcp-option=6,{SERVER},{SERVER}",
        f"--dhcp-option=42,{SERVER}",
        "--dhcp-option=15,example.tst",
        f"--dhcp-boot=ipxe.efi,,{SERVER}",
    ]
    fixed = ["--keep-in-foreground", "--no-ping", "--port=0", "--conf-file=/dev/null", "--user=root", "--group=root"]
    limits = ["--dhcp-lease-max=1000000", "--quiet-dhcp", f"--pid-file={folder / 'dnsmasq.pid'}", "--log-facility=-"]
    return ["dnsmasq", *fixed, *limits, *options], {}
