"""A request to the Redfish service as a value. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `path` without query, `headers` without regard to case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    query: tuple[str, ...] = ()
    """Names of query parameters."""
