"""The tokens that machines carry: who an agent or an installed system is. Only digests are kept.

A token is 256 bits from the system's generator. The agent's is handed out in the boot script, to the address that the
machine's MAC holds a lease for, and is good from that address only; the installed system's is written to its disk by
the job and ends with its first use. Whatever is wrong with a token, the refusal reads the same.
"""

from __future__ import annotations

import hashlib
import heapq
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from provisioner.errors import StoreError, TicketError
from provisioner.model.net import Mac
from provisioner.store.codec import encode
from provisioner.store.db import Database
from provisioner.uncut import uncut


class Purpose(StrEnum):
    """What a token is good for."""

    AGENT = "agent"
    HOME = "home"
    MEDIUM = "medium"


LIFE_S = {Purpose.AGENT: 30 * 3600.0, Purpose.HOME: 90 * 86400.0, Purpose.MEDIUM: 6 * 3600.0}
"""An agent outlives its longest job (erasing large disks may take a day). An installed system may start when somebody
has been there, and its run is resumed then: its token stands on its disk, says that run only, and ends with it. A BMC
reads a medium until its machine has started from it, on a slow line for hours."""


@dataclass(frozen=True, slots=True)
class Token:
    """Whom a token stands for. `machine` is empty for one that nobody knows yet; `address` where any will do."""

    digest: str
    purpose: Purpose
    mac: Mac
    machine: str
    run: str
    address: str
    expires: float


class Tokens:
    """All tokens that are good, in memory and in the store."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._good: dict[str, Token] = {}
        self._of: dict[tuple[Purpose, str], dict[str, Token]] = {}
        """Those of one MAC, and those of one machine, by digest: every boot looks for the ones that it ends."""
        self._ends: list[tuple[float, str]] = []
        """A heap of when tokens are over, some of which have ended before."""

    async def load(self) -> None:
        """Read what the store holds."""
        rows = await self._db.read(lambda c: c.execute("SELECT * FROM token").fetchall())
        for row in rows:
            self._put(Token(row[0], Purpose(row[1]), *row[2:]))

    async def renew(self, runs: Sequence[str], now: float) -> None:
        """Give the tokens of runs under way their whole time again, durably; to be asked before `load`.

        Nobody could use them while no daemon ran, and the clock may have been set since.
        """
        wanted = encode(list(runs)).decode()
        rows = [(now + life_s, purpose.value, wanted) for purpose, life_s in LIFE_S.items()]
        update = (  # all runs at once: no index has them
            "UPDATE token SET expires = max(expires, ?) WHERE purpose = ? AND run IN (SELECT value FROM json_each(?))"
        )
        await self._db.submit(lambda c: c.executemany(update, rows) and None)

    async def mint(self, purpose: Purpose, mac: Mac, machine: str, run: str, address: str, now: float) -> str:
        """Make a token, durably; earlier ones of this MAC and purpose end. Returns the secret, kept nowhere."""
        secret = secrets.token_urlsafe(32)
        await self.keep(Token(digest(secret), purpose, mac, machine, run, address, now + LIFE_S[purpose]), now)
        return secret

    async def keep(self, token: Token, now: float) -> None:
        """Make a token good, durably; earlier ones of its MAC and purpose end."""
        ended = [*self._of.get((token.purpose, token.mac), ()), *self._over(now)]
        row = (token.digest, str(token.purpose), token.mac, token.machine, token.run, token.address, token.expires)
        with uncut() as whole:
            try:
                await whole(self._db.submit(lambda c: _replace(c, ended, row)))
            except StoreError:
                for found in (self._good[each] for each in ended if each in self._good):
                    heapq.heappush(self._ends, (found.expires, found.digest))
                raise
            self._drop(ended)
            self._put(token)

    def check(
        self, secret: str, purpose: Purpose, address: str, now: float, moved: Callable[[Token], bool] = lambda _: False
    ) -> Token:
        """Return whom `secret` stands for; raise `TicketError`, which never says what was wrong.

        `moved` is asked where a token is bound to another address: whether its machine has this one as well.
        """
        token = self._good.get(digest(secret))
        good = token is not None and token.purpose == purpose and token.expires >= now
        if token is None or not good or not (token.address in ("", address) or moved(token)):
            raise TicketError("this token is not good here", hint="the machine has to boot again to get another")
        return token

    async def claim(self, token: Token, machine: str, run: str) -> None:
        """Say which machine the bearer turned out to be."""
        update = "UPDATE token SET machine = ?, run = ? WHERE digest = ?"
        with uncut() as whole:
            await whole(self._db.submit(lambda c: c.execute(update, (machine, run, token.digest)) and None))
            if token.digest in self._good:
                self._drop([token.digest])
                self._put(replace(token, machine=machine, run=run))

    async def end(self, machine: str, purpose: Purpose) -> None:
        """End every token of a machine for a purpose."""
        ended = list(self._of.get((purpose, machine), ()))
        with uncut() as whole:
            await whole(self._db.submit(lambda c: _replace(c, ended, None)))
            self._drop(ended)

    def _put(self, token: Token) -> None:
        self._good[token.digest] = token
        for owner in _owners(token):
            self._of.setdefault((token.purpose, owner), {})[token.digest] = token
        heapq.heappush(self._ends, (token.expires, token.digest))

    def _drop(self, digests: list[str]) -> None:
        for each in digests:
            token = self._good.pop(each, None)
            for owner in _owners(token) if token is not None else ():
                of = self._of[token.purpose, owner]  # type: ignore[union-attr]
                del of[each]
                if not of:
                    del self._of[token.purpose, owner]  # type: ignore[union-attr]

    def _over(self, now: float) -> list[str]:
        """Take out of the heap what is over."""
        over = []
        while self._ends and self._ends[0][0] < now:
            _, found = heapq.heappop(self._ends)
            if found in self._good:
                over.append(found)
        return over


def _owners(token: Token) -> set[str]:
    return {str(token.mac), token.machine} - {""}


def digest(secret: str) -> str:
    """Say under which key a token is found."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _replace(cursor: sqlite3.Cursor, ended: list[str], row: tuple[str | float, ...] | None) -> None:
    cursor.executemany("DELETE FROM token WHERE digest = ?", [(digest,) for digest in ended])
    if row is not None:
        cursor.execute("INSERT INTO token VALUES (?, ?, ?, ?, ?, ?, ?)", row)
