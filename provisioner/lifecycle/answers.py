"""Answer files of installers: armed with the boot script, given once to the machine that they are for."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from provisioner.boot.tickets import SECRET_BYTES, Ask, Granted, Holder, Refused, Ticket, arm, digest_of, redeem
from provisioner.catalog.context import Occasion, subject_of
from provisioner.catalog.kept import Stamp
from provisioner.catalog.system import Secrets
from provisioner.errors import ConflictError, NotFoundError, ProvisionerError, StoreError, TicketError, TicketUsedError
from provisioner.lifecycle.boots import Boots
from provisioner.lifecycle.handouts import Handout, Handouts
from provisioner.lifecycle.inputs import Seen
from provisioner.lifecycle.plans import ANSWERS_S, Signal
from provisioner.lifecycle.runner import Runner
from provisioner.model.catalog import AnswerFile, Bootenv
from provisioner.model.machine import Machine
from provisioner.model.net import Mac
from provisioner.model.trace import NOW, Channel, TraceLine
from provisioner.store.db import Database
from provisioner.store.events import EventStore
from provisioner.store.tickets import TicketStore
from provisioner.store.tokens import LIFE_S, Purpose, Token, Tokens, digest
from provisioner.store.trace import Trace
from provisioner.uncut import uncut

SEED_BYTES = 16
AHEAD_S = 2.0
"""How long a boot script waits for its answer files: iPXE and GRUB do not mind, and 2,000 renderings take less."""

ALARMS = 8
"""Events of one ticket that was refused; the trace has each time."""
ALARMED = 1024
"""Tickets whose events are counted."""


class Answers:
    """Arms tickets and redeems them."""

    def __init__(self, runner: Runner, boots: Boots, db: Database, tokens: Tokens, trace: Trace) -> None:
        self._machines = boots.machines
        self._ports = boots.ports
        self._runner = runner
        self._boots = boots
        self._tokens = tokens
        self._tickets = TicketStore(db)
        self._trace = trace
        self._daemon = secrets.token_hex(8)
        self._owed: set[tuple[str, str]] = set()
        """Ticket and file of what was redeemed and did not leave, where the store was not told so: it is full, or who
        asked went away. After a restart that is nobody's any more, but then whatever was given once is given again."""
        self._asking: set[str] = set()
        """Machines whose own answer is being given, at the place that all are told."""
        self._events = EventStore(db)
        self._alarms: OrderedDict[str, int] = OrderedDict()
        """How often it was told of each ticket that somebody held it who should not."""
        self._handouts = Handouts()
        runner.followers.append(self._handouts.follow)
        boots.arm, boots.told = self.arm, self._handouts.addresses

    async def renew(self, runs: Sequence[str]) -> None:
        """Let the tickets of runs under way last, whatever the clock says after a restart."""
        await self._tickets.renew(runs, self._boots.clock.now() + ANSWERS_S)

    async def arm(self, machine: Machine, mac: Mac, bootenv: Bootenv, address: str, now: float) -> tuple[str, str]:
        """Make the ticket of one boot, durably. Returns its secret and the token that the installer reports with."""
        assert machine.run is not None
        holder = Holder(machine.id, machine.run.id, mac, address)
        chance = secrets.token_bytes(SECRET_BYTES + SEED_BYTES)
        secret, ticket = arm(chance, holder, bootenv.name, bootenv.answers, now, ANSWERS_S)
        await self._tickets.arm(ticket, now)
        for purpose, bound in ((Purpose.AGENT, address), (Purpose.HOME, "")):
            key, expires = digest(derived(secret, purpose)), now + LIFE_S[purpose]
            await self._tokens.keep(Token(key, purpose, mac, machine.id, machine.run.id, bound, expires), now)
        await self._render_ahead(machine, bootenv, secret, ticket)
        return secret, derived(secret, Purpose.AGENT)

    async def _render_ahead(self, machine: Machine, bootenv: Bootenv, secret: str, ticket: Ticket) -> None:
        """Have the files ready when their installer asks. What cannot be had now is tried again then, and told."""
        with contextlib.suppress(TimeoutError, ProvisionerError):
            async with asyncio.timeout(AHEAD_S):
                for answer in bootenv.answers:
                    await self.render(machine, bootenv, answer, secret, ticket)

    async def fetch(self, secret: str, answer: str, address: str) -> tuple[bytes, str]:
        """Give an answer file and its content type. `TicketUsedError` for one that is out, `TicketError` otherwise.

        What fails before the file is whole (`RenderError`, `StoreError`) costs nothing: the installer asks again.
        """
        key = digest_of(secret)
        ticket = await self._tickets.find(key)
        machine = self._machines.find(ticket.machine) if ticket is not None else None
        ask = self._ask(machine, ticket, answer, address)
        outcome = redeem(ticket, ask, self._boots.clock.now())
        if isinstance(outcome, Refused) or ticket is None or machine is None:
            raise await self._refused(machine, outcome, answer, ask)
        handout = self._handouts.of(machine.id, key)
        if handout is None or answer not in handout.files:
            handout = await self._made(machine, answer, secret, ticket)
            self._check_same(machine, ticket, answer, handout)
        ask = self._ask(self._machines.find(machine.id), ticket, answer, address)  # its run may have ended meanwhile
        ask = replace(ask, sums=handout.sums)
        outcome = await self._redeemed(key, ask)
        if isinstance(outcome, Refused):  # or somebody else was faster
            raise await self._refused(machine, outcome, answer, ask)
        machine = await self._answered(machine, key, answer)
        handout = self._handouts.keep(machine.id, handout)
        again = " once more" if isinstance(outcome, Granted) and outcome.again else ""
        self._see(machine, "http.answer", f"answer file {answer} given{again}")
        return handout.files[answer]

    async def _redeemed(self, key: str, ask: Ask) -> Granted | Refused:
        """Redeem a file. It is owed still where that fails, or whoever asked went away meanwhile."""
        owed = ask.owed
        self._owed.discard((key, ask.answer))  # of many who ask at once, one is owed it
        try:
            with uncut() as whole:
                _, outcome = await whole(self._tickets.redeem(key, ask, self._boots.clock.now()))
                owed = isinstance(outcome, Granted)
        except (StoreError, asyncio.CancelledError):
            if owed:
                self._owed.add((key, ask.answer))
            raise
        return outcome

    async def own(self, answer: str, address: str) -> tuple[bytes, str]:
        """Give an answer file at the one place that an installer asks at: to whom the ticket's address is leased.

        It is the boot script's rule: such an installer cannot be told a secret, and who holds the lease may ask once.
        """
        mac = self._ports.network.lease_of(address)
        machine = self._boots.machine_of(mac) if mac is not None else None
        if machine is None or machine.id in self._asking:
            raise TicketError("there is no such answer file")
        self._asking.add(machine.id)  # of many who ask at once, one is given it
        try:
            ticket = await self._tickets.latest(machine.id)
            bootenv = None if ticket is None else self._ports.catalogue.bootenv(ticket.bootenv)
            found = None if bootenv is None else bootenv.answer(answer)
            if ticket is None or bootenv is None or found is None or not found.by_address:
                raise TicketError("there is no such answer file")
            now = self._boots.clock.now()
            ask = self._ask(machine, ticket, answer, address)
            outcome = redeem(ticket, ask, now)
            if isinstance(outcome, Refused):
                raise await self._refused(machine, outcome, answer, ask)
            secret, _ = await self.arm(machine, ticket.mac, bootenv, address, now)
            return await self.fetch(secret, answer, address)
        finally:
            self._asking.discard(machine.id)

    def _ask(self, machine: Machine | None, ticket: Ticket | None, answer: str, address: str) -> Ask:
        run = machine.run if machine is not None else None
        phase = run.step.phase if run is not None and run.step is not None else None
        holder = self._ports.network.lease_of(address)
        return Ask(
            answer,
            address,
            holder,
            run.id if run is not None else "",
            phase,
            self._daemon,
            ticket is not None and (ticket.digest, answer) in self._owed,
            bool(machine and ticket and ticket.address != address) and self._boots.declares(machine, address),
        )

    async def _made(self, machine: Machine, wanted: str, secret: str, ticket: Ticket) -> Handout:
        """Make every file of a ticket, of what is declared now; raise `RenderError` where the wanted one cannot be."""
        bootenv = self._ports.catalogue.bootenv(ticket.bootenv)
        if bootenv.answer(wanted) is None:
            raise NotFoundError(f"{bootenv.name} has no answer file {wanted[:80]!r}")
        files = {}
        for answer in bootenv.answers:
            try:
                files[answer.id] = await self.render(machine, bootenv, answer, secret, ticket), answer.content_type
            except ProvisionerError:
                if answer.id == wanted:
                    raise  # another one is tried again when it is asked for
        if self._ports.catalogue.bootenv(ticket.bootenv) is not bootenv:  # another catalogue came amid them
            return await self._made(machine, wanted, secret, ticket)
        return Handout(ticket.digest, files, self._boots.declared(machine))

    def _check_same(self, machine: Machine, ticket: Ticket, answer: str, handout: Handout) -> None:
        """Say it where a file is not what it was when the first one was given: only memory has had that one.

        Raises `ConflictError` where this very file was given, and is to be given again as it was.
        """
        if not ticket.fetched or ticket.sums.get(answer, handout.sums[answer]) == handout.sums[answer]:
            return
        text = f"{answer} is not what it was when the first file of this boot was given: something has changed since"
        self._see(machine, "http.answer.changed", text, ok=False)
        if answer in ticket.refetch and ticket.fetch_of(answer) is not None:
            raise ConflictError(f"{answer} is not what was given of it", hint=f"boot {machine.name} again")

    async def _answered(self, machine: Machine, key: str, answer: str) -> Machine:
        """Tell the run before an octet leaves: whoever has the answers installs, and must find its disk after it."""
        try:
            return await self._runner.apply(machine.id, Seen(Signal.ANSWER))
        except asyncio.CancelledError:  # who asked went away
            self._owed.add((key, answer))
            raise
        except ProvisionerError:
            try:
                await self._tickets.give_back(key, answer)
            except StoreError:
                self._owed.add((key, answer))
            raise

    async def render(
        self, machine: Machine, bootenv: Bootenv, answer: AnswerFile, secret: str, ticket: Ticket
    ) -> bytes:
        """Make a file of a ticket, whoever asks for it."""
        assert machine.run is not None
        ports, given, subject = self._ports, machine.run.params, subject_of(machine)
        mac, address, values = ticket.mac, ticket.address, None
        if answer.secret:
            values = await ports.secrets(ports.catalogue.references(bootenv, machine, given))
        base, arch, stored, steps = self._boots.ours(mac, bootenv, address)
        words = (base, arch, mac, address, secret, ticket.seed, *steps)
        stamp = Stamp((bootenv, given, values, stored, *(subject or ())), words)
        text = ports.catalogue.kept_answer(answer, machine, stamp)
        if text is None:
            token, home = derived(secret, Purpose.AGENT), derived(secret, Purpose.HOME)
            boot = self._boots.boot_of(mac, bootenv, address, token=token, phone_home=home, ticket=secret)
            secrets = None if values is None else Secrets(ticket.seed, values)
            text = await ports.catalogue.answer(Occasion(bootenv, subject, boot, given, secrets), answer.id, stamp)
        return text

    async def _refused(self, machine: Machine | None, outcome: Granted | Refused, answer: str, ask: Ask) -> TicketError:
        """Say what the peer is told; who has the machine hears more."""
        if isinstance(outcome, Refused) and machine is not None:
            self._see(machine, "http.answer.refused", f"{answer[:80]}: {outcome.text}", ok=False)
            if outcome.alarm:
                await self._alarm(machine, outcome, ask)
        if isinstance(outcome, Refused) and outcome.status == 410:
            return TicketUsedError("this answer file was given already")
        return TicketError("there is no such answer file")

    async def _alarm(self, machine: Machine, outcome: Refused, ask: Ask) -> None:
        """Tell of a ticket in wrong hands, or used twice: the first times, since an installer may ask for ever."""
        times = self._alarms.pop(outcome.ticket, 0)
        self._alarms[outcome.ticket] = times + 1
        if len(self._alarms) > ALARMED:
            self._alarms.popitem(last=False)
        if times < ALARMS:
            data = {"answer": ask.answer[:80], "peer": ask.address, "reason": outcome.reason, "status": outcome.status}
            with contextlib.suppress(StoreError):  # full: the trace has it
                event = await self._events.add("ticket.refused", data, self._boots.clock.now(), machine.id)
                self._runner.announce([event])

    def _see(self, machine: Machine, event: str, text: str, ok: bool = True) -> None:
        run = machine.run.id if machine.run and machine.run.step else ""
        self._trace.note(TraceLine(NOW, Channel.HTTP, event, text, None, machine.id, run, ok))


def derived(secret: str, purpose: Purpose) -> str:
    """Derive a token from a ticket's secret: the same in every file of one boot, and kept nowhere (RFC 2104)."""
    return hmac.digest(secret.encode("utf-8", "surrogateescape"), purpose.encode(), "sha256").hex()
