"""Tickets: who may fetch a boot's answer files, once, and until when. No I/O.

A ticket is 32 random octets in a URL; only their SHA-256 is kept. It is bound to the machine, its run and phases, the
MAC and the address that the boot script went to. Some installers configure the system's network already in themselves
(Ubuntu's, Agama): once a file was given, the static addresses that the machine is told to take count as well, as long
as nobody else has a lease for them. A ticket lasts as long as the run may, since installers fetch what they run
at their end with it. Each file of it is given once: the first fetch wins, and a second one
is answered 410 and reported. The one tolerance: an answer file whose bootenv says `refetch` (Anaconda and
cloud-init read theirs twice, curl asks again where it was cut off) is given once more within `REFETCH_S` to the same
address, with the same bytes: all files of a boot are made when the first is given, and stay as they are
(`lifecycle.handouts`). And what a daemon gave that was killed since may have been lost on the way: it is given once
more, to the same address. What was granted and then could not be given, since the store was full or nothing could be
rendered, has not left and is owed.

Whoever redeems saves the ticket that a grant carries, durably, before an octet of the file leaves. All rules are
functions of values, so two askers at once meet in the store's single writer, and one of them finds it fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from provisioner.model.catalog import AnswerFile
from provisioner.model.machine import Phase
from provisioner.model.net import Mac

SECRET_BYTES = 32  # 256 bits: nobody guesses one
REFETCH_S = 60.0
ANSWER_PHASES = (Phase.LOADER, Phase.FETCH, Phase.INSTALL)
"""Where a run may stand when its machine asks for answers: the ticket dies with the last of them."""


class Refusal(StrEnum):
    """Why a ticket is not honoured. The peer is told 410 for `USED`, and 404 for every other reason alike."""

    UNKNOWN = "unknown"
    USED = "used"
    LATE = "late"
    ADDRESS = "other address"
    MAC = "other machine"
    PHASE = "other phase"
    FILE = "no such file"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Fetch:
    """One file that was given out: when first, to whom, how often, and by which daemon."""

    answer: str
    at: float
    address: str
    times: int = 1
    daemon: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One armed ticket as the store keeps it. Times are seconds since the epoch."""

    digest: str
    machine: str
    run: str
    phases: tuple[Phase, ...]
    mac: Mac
    address: str
    bootenv: str
    answers: tuple[str, ...]
    refetch: tuple[str, ...]
    armed: float
    expires: float
    seed: str
    """Drawn with the ticket: salts of password hashes are derived from it, so that a second reading is the same."""
    fetched: tuple[Fetch, ...] = ()
    revoked: bool = False
    sums: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of each file as it was when the first one was given."""

    def fetch_of(self, answer: str) -> Fetch | None:
        """Find what was given out under this id."""
        return next((fetch for fetch in self.fetched if fetch.answer == answer), None)


@dataclass(frozen=True, slots=True)
class Ask:
    """A fetch as the web server sees it: `mac` is whose lease `address` is, `phase` where that machine's run stands."""

    answer: str
    address: str
    mac: Mac | None
    run: str
    phase: Phase | None
    daemon: str = ""
    """Names this life of the daemon: of what an earlier one gave, nobody knows whether it arrived."""
    owed: bool = False
    """It was granted by this daemon, and nothing of it has left."""
    declared: bool = False
    """The machine is told to take `address`."""
    sums: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of each file as it would be given."""


@dataclass(frozen=True, slots=True)
class Granted:
    """Give the file, once `ticket` is saved."""

    ticket: Ticket
    again: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Give nothing: `status` to the peer, `reason` to the trace. `alarm` where somebody holds a ticket not meant so."""

    status: int
    reason: Refusal
    alarm: bool
    text: str
    ticket: str = ""
    """Its digest, where there is one."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a ticket is made for."""

    machine: str
    run: str
    mac: Mac
    address: str
    phases: tuple[Phase, ...] = ANSWER_PHASES


def digest_of(secret: str) -> str:
    """Say under which key a ticket's secret part is found."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def arm(
    chance: bytes, holder: Holder, bootenv: str, answers: tuple[AnswerFile, ...], now: float, life_s: float
) -> tuple[str, Ticket]:
    """Make a ticket from `SECRET_BYTES` + 16 random octets: the secret for the URL, and what is kept of it.

    `life_s` is an upper bound, for a run whose end is never heard of: its phases end a ticket before.
    """
    if len(chance) != SECRET_BYTES + 16:
        raise ValueError(f"{len(chance)} octets of chance, {SECRET_BYTES + 16} are wanted")
    secret = base64.urlsafe_b64encode(chance[:SECRET_BYTES]).rstrip(b"=").decode()
    return secret, Ticket(
        digest=digest_of(secret),
        machine=holder.machine,
        run=holder.run,
        phases=holder.phases,
        mac=holder.mac,
        address=holder.address,
        bootenv=bootenv,
        answers=tuple(answer.id for answer in answers),
        refetch=tuple(answer.id for answer in answers if answer.refetch),
        armed=now,
        expires=now + life_s,
        seed=chance[SECRET_BYTES:].hex(),
    )


def revoke(ticket: Ticket) -> Ticket:
    """End a ticket before its time: the phase is over, or a newer boot script took its place."""
    return replace(ticket, revoked=True)


def given_back(ticket: Ticket, answer: str) -> Ticket:
    """Take back the last fetch of a file: nothing of it left."""
    kept = (replace(fetch, times=fetch.times - 1) if fetch.answer == answer else fetch for fetch in ticket.fetched)
    return replace(ticket, fetched=tuple(fetch for fetch in kept if fetch.times))


def redeem(ticket: Ticket | None, ask: Ask, now: float) -> Granted | Refused:
    """Say whether `ask` gets its file. What is out already answers 410, whoever asks: that is the alarm to hear."""
    if ticket is None:
        return Refused(404, Refusal.UNKNOWN, False, "no such ticket")
    broken = next(((reason, text) for reason, holds, text in _bindings(ticket, ask, now) if not holds), None)
    before = ticket.fetch_of(ask.answer)
    if before is not None:
        twice = ask.answer in ticket.refetch and now - before.at <= REFETCH_S
        again = ask.owed or (before.times == 1 and (twice or before.daemon != ask.daemon))
        if broken is not None or not again:
            text = f"{ask.answer} went to {before.address}, asked again from {ask.address}"
            return Refused(410, Refusal.USED, True, f"{ticket.machine}: {text}", ticket.digest)
        others = tuple(fetch for fetch in ticket.fetched if fetch.answer != ask.answer)
        times = before.times if ask.owed else 2
        return Granted(replace(ticket, fetched=(*others, replace(before, times=times))), again=True)
    if broken is not None:
        return Refused(404, broken[0], True, f"{ticket.machine}: {broken[1]}", ticket.digest)
    fetch = Fetch(ask.answer, now, ask.address, daemon=ask.daemon)
    sums = ticket.sums if ticket.fetched else ask.sums
    return Granted(replace(ticket, fetched=(*ticket.fetched, fetch), sums=sums))


def _bindings(ticket: Ticket, ask: Ask, now: float) -> Iterator[tuple[Refusal, bool, str]]:
    """List what a ticket is bound to: the refusal, whether it holds, what is said where it does not."""
    moved = ask.declared and ask.mac in (None, ticket.mac) and bool(ticket.fetched)
    yield (
        Refusal.ADDRESS,
        moved or ask.address == ticket.address,
        f"armed for {ticket.address}, asked from {ask.address}",
    )
    yield (
        Refusal.MAC,
        moved or ask.mac == ticket.mac,
        f"armed for {ticket.mac}; {ask.address} is leased to {ask.mac or 'nobody'}",
    )
    yield Refusal.FILE, ask.answer in ticket.answers, f"{ask.answer[:80]!r} is not one of {', '.join(ticket.answers)}"
    under_way = not ticket.revoked and ask.run == ticket.run
    yield Refusal.REVOKED, under_way, f"run {ticket.run} is not under way, or a newer script took its place"
    yield Refusal.PHASE, ask.phase in ticket.phases, f"the run is in {ask.phase or 'no phase'}"
    yield Refusal.LATE, now < ticket.expires, f"it ended {now - ticket.expires:.0f} s ago"
