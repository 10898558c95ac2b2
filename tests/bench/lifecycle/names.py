"""How all processes of the benchmark call machine N, and where each of them is."""

from __future__ import annotations

from provisioner.model.net import Mac

SERVER, RELAY = "10.96.0.1", "10.96.0.2"
"""The daemon's address, and the one of the relay that machines and BMCs are behind."""
NETWORK, POOL = "10.96.0.0/14", "10.97.0.1-10.97.127.254"
MACHINE_ROUTE, BMC_ROUTE = "10.97.0.0/16", "10.98.0.0/16"
PORT = "life1"
"""The interface at the daemon's end of the cable."""
HTTP_PORT, TLS_PORT, BMC_PORT = 8080, 8443, 443
USER, PASSWORD = "admin", "simulated pass"


def mac_of(at: int) -> Mac:
    return Mac(f"52:54:00:{at >> 16:02x}:{at >> 8 & 255:02x}:{at & 255:02x}")


def uuid_of(at: int) -> str:
    return f"4c4c4544-0042-4a10-8051-b4c04f{at:06x}"


def bmc_of(at: int) -> str:
    return f"10.98.{at // 250}.{at % 250 + 1}"


def name_of(at: int) -> str:
    return f"node{at:05}"
