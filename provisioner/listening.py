"""Where is listened, and why it cannot be, in words that help. No I/O."""

from __future__ import annotations

import errno

LISTED = {"TCP": "-ltnp", "UDP": "-lunp"}
"""How ss(8) is asked who listens."""


def spelled(host: str, port: int) -> str:
    """Spell an address with its port, one of IPv6 in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def hint_for(error: OSError, protocol: str, host: str, port: int) -> str:
    """Say what can be done about an error of bind(2); `protocol` is TCP or UDP. Empty where that is not known."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"`ss {LISTED[protocol]} 'sport = :{port}'` says who holds it; or give another address or port"
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address {host}: `ip addr` lists those that it has"
        case errno.EACCES | errno.EPERM:
            return f"port {port} needs CAP_NET_BIND_SERVICE: start it as root, or by systemd/provisioner.service"
        case _:
            return ""
