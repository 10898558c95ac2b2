"""How both processes of the benchmark call machine N."""

from __future__ import annotations

from provisioner.model.net import Mac


def mac_of(at: int) -> Mac:
    return Mac(f"52:54:00:{at >> 16:02x}:{at >> 8 & 255:02x}:{at & 255:02x}")


def address_of(at: int) -> str:
    """An address of its own on loopback: who asks is known by where it asks from."""
    return f"127.1.{at >> 8}.{at & 255}"


def number_of(host: str) -> int:
    return int(host.removeprefix("bmc-"))


def name_of(at: int) -> str:
    return f"node{at:05}"
