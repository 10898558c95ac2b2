"""What was typed, as a path or a query of the API has it. No I/O."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

_AS_TYPED = "surrogateescape"
"""How Python keeps what was typed and is no UTF-8: just those octets are asked for, and nothing is called so."""


def quoted(ref: str, *, safe: str = "") -> str:
    """Put a name into a path."""
    return urllib.parse.quote(ref, safe=safe, errors=_AS_TYPED)


def query_of(given: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> str:
    """Put names and values into a query."""
    return urllib.parse.urlencode(given, errors=_AS_TYPED)
