"""Names of network namespaces that no run has had before, be it one that was killed and left its own behind."""

from __future__ import annotations

import secrets


def fresh(prefix: str) -> str:
    """A name that begins so."""
    return f"{prefix}-{secrets.token_hex(4)}"
