"""Tickets in the store. What a fetch decides and what is kept of it happen in one transaction of the one writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from provisioner.boot.tickets import Ask, Granted, Refused, Ticket, given_back, redeem, revoke
from provisioner.store.codec import Reader, encode
from provisioner.store.db import Database

_ticket_in = Reader(Ticket)

KEEP_S = 7 * 24 * 3600.0
"""How long a ticket that is over is remembered, so that a late fetch is told from a guess."""


class TicketStore:
    """The table of tickets."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def arm(self, ticket: Ticket, now: float) -> None:
        """Keep a new ticket, durably; earlier ones of its machine are revoked."""
        await self._db.submit(lambda cursor: _arm(cursor, ticket, now))

    async def redeem(self, digest: str, ask: Ask, now: float) -> tuple[Ticket | None, Granted | Refused]:
        """Decide about a fetch. A grant is durable when this returns; of many at once exactly one is granted."""
        return await self._db.submit(lambda cursor: _redeem(cursor, digest, ask, now))

    async def give_back(self, digest: str, answer: str) -> None:
        """Let a file be fetched once more that was granted and did not leave."""
        await self._db.submit(lambda cursor: _give_back(cursor, digest, answer))

    async def renew(self, runs: Sequence[str], expires: float) -> None:
        """Give the tickets of runs under way their whole time again: nobody could use them while no daemon ran."""
        await self._db.submit(lambda cursor: _renew(cursor, runs, expires))

    async def latest(self, machine: str) -> Ticket | None:
        """Find the ticket that a machine has now."""
        return await self._db.read(lambda cursor: _latest(cursor, machine))

    async def find(self, digest: str) -> Ticket | None:
        """Look a ticket up."""
        return await self._db.read(lambda cursor: _find(cursor, digest))


def _arm(cursor: sqlite3.Cursor, ticket: Ticket, now: float) -> None:
    cursor.execute("DELETE FROM ticket WHERE expires < ?", (now - KEEP_S,))
    rows = cursor.execute("SELECT document FROM ticket WHERE machine = ?", (ticket.machine,)).fetchall()
    for (document,) in rows:
        earlier = _ticket_in(document)
        if not earlier.revoked:
            _keep(cursor, revoke(earlier))
    _keep(cursor, ticket)


def _renew(cursor: sqlite3.Cursor, runs: Sequence[str], expires: float) -> None:
    for run in runs:
        for (document,) in cursor.execute("SELECT document FROM ticket WHERE run = ?", (run,)).fetchall():
            ticket = _ticket_in(document)
            _keep(cursor, replace(ticket, expires=max(ticket.expires, expires)))


def _give_back(cursor: sqlite3.Cursor, digest: str, answer: str) -> None:
    ticket = _find(cursor, digest)
    if ticket is not None:
        _keep(cursor, given_back(ticket, answer))


def _keep(cursor: sqlite3.Cursor, ticket: Ticket) -> None:
    row = (ticket.digest, ticket.machine, ticket.run, "answers", ticket.expires, None, encode(ticket))
    cursor.execute("INSERT OR REPLACE INTO ticket VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _find(cursor: sqlite3.Cursor, digest: str) -> Ticket | None:
    row = cursor.execute("SELECT document FROM ticket WHERE digest = ?", (digest,)).fetchone()
    return _ticket_in(row[0]) if row else None


def _latest(cursor: sqlite3.Cursor, machine: str) -> Ticket | None:
    rows = cursor.execute("SELECT document FROM ticket WHERE machine = ?", (machine,)).fetchall()
    return next((ticket for (document,) in rows if not (ticket := _ticket_in(document)).revoked), None)


def _redeem(cursor: sqlite3.Cursor, digest: str, ask: Ask, now: float) -> tuple[Ticket | None, Granted | Refused]:
    ticket = _find(cursor, digest)
    outcome = redeem(ticket, ask, now)
    if isinstance(outcome, Granted):
        _keep(cursor, outcome.ticket)
    return ticket, outcome
