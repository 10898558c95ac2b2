"""`provisionctl dhcp import`: files read here, judged and taken over by the daemon, told as a table."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from provisioner.cli.client import Client
from provisioner.cli.output import CYAN, DIM, GREEN, RED, YELLOW, print_rows
from provisioner.cli.session import Session
from provisioner.cli.text import Column, Row, printable
from provisioner.dhcp.foreign import guess
from provisioner.dhcp.foreign.found import FOR_EVER, Contents, FoundLease, FoundLease6, Was
from provisioner.dhcp.packet import address
from provisioner.dhcp.v6.message import address as address6
from provisioner.errors import ConfigError, ConflictError

FILE_LIMIT = 512 << 20
KEA = {"kea-leases4.csv": "kea-leases", "kea-leases6.csv": "kea-leases6"}
"""Kea's lease files, by what they are, with their formats."""
LEFTOVERS = (".completed", ".2", ".1")
"""What Kea's clean-up of lease files leaves beside them when it is interrupted, oldest first; read before the file."""
STYLES = {"new": GREEN, "same": DIM, "conflict": RED, "expired": YELLOW, "left out": YELLOW, "unreadable": RED}
BLANK = {**dict.fromkeys(("kind", "address", "high", "mac", "client_id", "duid", "name"), ""), "options": {}}
"""A row of which nothing is known."""
COLUMNS = (
    Column("WHAT", lambda row: row["kind"]),
    Column("ADDRESS", lambda row: row["address"] + (f"-{row['high']}" if row["high"] else ""), keep=True),
    Column("MAC", lambda row: row["mac"], keep=True),
    Column("CLIENT ID", lambda row: row["client_id"] or row["duid"]),
    Column("NAME", lambda row: row["name"]),
    Column("UNTIL", lambda row: row["until"] or ("for ever" if row["kind"] == "lease" else "")),
    Column("BECOMES", lambda row: row["what"], style=lambda row: STYLES.get(row["what"], CYAN), keep=True),
    Column("WHY", lambda row: row["reason"]),
    Column("OPTIONS", lambda row: ", ".join(f"{k}: {v}" for k, v in row["options"].items()), wide=True),
    Column("WHERE", lambda row: row["where"], wide=True),
)


def import_files(session: Session, files: Sequence[Path], **given: Any) -> None:
    """Read the files, have the daemon take them over, print what became of everything."""
    found = list(read_files(session, files, given["format_name"]))
    faults = [fault for contents in found for fault in contents.faults]
    if faults and not given["keep_going"]:
        hint = "nothing was changed; --keep-going leaves these out"
        raise ConfigError(f"{len(faults)} lines cannot be read", faults=faults, hint=hint)
    now = time.time()
    leases = latest(found)
    active = [lease for lease in leases if lease.was is Was.ACTIVE and lease.until > now]
    rows, done = _ask(session.client(), entries(found, active), given)
    rows += [_unreadable(fault) for fault in faults]
    if given["expired"]:
        rows += [_over(lease) for lease in leases if not (lease.was is Was.ACTIVE and lease.until > now)]
    print_rows(session, rows, COLUMNS, empty="nothing to take over in these files")
    for note in (note for contents in found for note in contents.notes):
        session.note(printable(f"{note.where}: {note.text}"))
    _sum_up(session, done, len(leases) - len(active), len(faults), dry_run=given["dry_run"])


def read_files(session: Session, files: Sequence[Path], format_name: str) -> Iterator[Contents]:
    """Read each file, and before Kea's lease files what an interrupted clean-up left beside them."""
    if format_name and format_name not in guess.FORMATS:
        raise click.UsageError(f"--format {format_name!r}: none of {', '.join(guess.FORMATS)}")
    named = {file.resolve() for file in files}
    for file in files:
        contents = _read(file, format_name)
        if contents.kind in KEA:
            for leftover in (file.with_name(file.name + ending) for ending in LEFTOVERS):
                if leftover.exists() and leftover.resolve() not in named:
                    session.note(f"{leftover}: left by Kea's clean-up, read first")
                    yield _read(leftover, KEA[contents.kind])
        yield contents


def _read(file: Path, format_name: str) -> Contents:
    try:
        size = file.stat().st_size
        if size > FILE_LIMIT:
            raise ConfigError(f"{file}: {size} octets", hint=f"at most {FILE_LIMIT} are read")
        return guess.read(file.read_bytes(), str(file), format_name)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error


def latest(found: Iterable[Contents]) -> list[FoundLease | FoundLease6]:
    """Give the last word on each address, the newest lease first: a machine that has two keeps that one."""
    by_address: dict[tuple[bool, int], FoundLease | FoundLease6] = {}
    for contents in found:
        by_address |= {(False, ip): lease for ip, lease in contents.leases.items()}
        by_address |= {(True, ip): six for ip, six in contents.leases6.items()}
    return sorted(by_address.values(), key=lambda lease: (lease.since, lease.until), reverse=True)


def entries(found: Iterable[Contents], leases: Iterable[FoundLease | FoundLease6]) -> Iterator[Row]:
    """Write what the daemon is asked to take over: reservations first, since leases depend on them."""
    contents = list(found)
    for each in (each for one in contents for each in one.reservations):
        said = {"kind": "reservation", "mac": each.key.hex(":"), "name": each.name, "options": dict(each.options)}
        yield {**said, "address": address(each.ip) if each.ip else "", "where": each.where}
    for six in (six for one in contents for six in one.reservations6):
        who = {"mac": six.key.hex(":"), "duid": six.duid.hex(":"), "name": six.name}
        yield {"kind": "reservation", "address": address6(six.ip), "where": six.where, **who}
    for lease in leases:
        until = None if lease.until >= FOR_EVER else lease.until
        held = {"kind": "lease", "name": lease.name, "until": until, "since": lease.since, "where": lease.where}
        yield {**held, **_holder(lease)}
    for span in (span for one in contents for span in one.ranges):
        low, high = (address6 if span.six else address)(span.low), (address6 if span.six else address)(span.high)
        yield {"kind": "range", "address": low, "high": high, "where": span.where}


def _holder(lease: FoundLease | FoundLease6) -> Row:
    """Say who has which address."""
    if isinstance(lease, FoundLease6):
        return {"address": address6(lease.ip), "duid": lease.duid.hex(":"), "iaid": lease.iaid}
    return {
        "address": address(lease.ip),
        "mac": lease.key.hex(":"),
        "client_id": lease.client_id.hex(":"),
        "circuit_id": lease.circuit_id.hex(),
        "remote_id": lease.remote_id.hex(),
    }


def _ask(client: Client, wanted: Iterable[Row], given: Row) -> tuple[list[Row], Row]:
    content = b"".join(json.dumps(entry).encode() + b"\n" for entry in wanted)
    query = {name: "yes" for name in ("dry_run", "keep_going") if given[name]}
    *rows, done = client.exchange("/v1/dhcp/import", content, query)
    return rows, done


def _over(lease: FoundLease | FoundLease6) -> Row:
    what = "expired" if lease.was is Was.ACTIVE else "left out"
    return {
        **BLANK,
        **_holder(lease),
        "kind": "lease",
        "name": lease.name,
        "until": _time(lease.until),
        "what": what,
        "reason": "" if what == "expired" else f"it was {lease.was}",
        "where": lease.where,
    }


def _time(at: float) -> str | None:
    if at >= FOR_EVER:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unreadable(fault: str) -> Row:
    where, _, text = fault.partition(": ")
    return {**BLANK, "until": None, "what": "unreadable", "reason": text, "where": where}


def _sum_up(session: Session, done: Row, over: int, unreadable: int, *, dry_run: bool) -> None:
    counts: Counter[str] = Counter(done["counts"])
    parts = [f"{counts[what]} {what}" for what in ("new", "same", "conflict", "left out") if counts[what]]
    parts += [f"{over} over"] * bool(over) + [f"{unreadable} unreadable"] * bool(unreadable)
    text = ", ".join(parts) or "nothing"
    if dry_run:
        session.note(f"{text}; nothing was changed (--dry-run)")
    elif done["applied"]:
        session.note(f"{text}; what is new holds from now on")
    else:
        hint = "settle them, or take over the rest with --keep-going"
        raise ConflictError(f"{text}; nothing was changed", hint=hint)
