"""What is asked of the conductor and what it answers, as values. No I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioner.model.bmc import BmcAddress
from provisioner.model.net import Mac


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """Name a machine and say how to reach its BMC. `password` goes to the store's secrets, nowhere else.

    `verify` asks to log in to the BMC before anything is written.
    """

    name: str
    bmc: BmcAddress | None = None
    password: str = field(default="", repr=False)
    macs: tuple[Mac, ...] = ()
    boot_via: str = ""
    """Empty: as its firmware asked when it was discovered, PXE where it was not."""
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under an idempotency key (empty: under none). `request` tells a repetition from another request."""

    key: str = ""
    request: str = ""


UNKEYED = Asked()


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that pre-flight looked at. `text` says what was found; `hint` what to do where it is not `ok`."""

    name: str
    ok: bool
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the outbox. `seq` grows and is never used twice; `at` is in seconds since the epoch."""

    seq: int
    at: float
    type: str
    machine: str
    data: Mapping[str, Any] = field(default_factory=dict)


Tell = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Puts an event of the site into the outbox, by its type and data; raises `StoreError`."""
