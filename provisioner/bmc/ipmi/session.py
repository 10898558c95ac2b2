"""One IPMI 2.0 session over UDP, on pyghmi's protocol code and asyncio's loop. Runs in the worker process only.

pyghmi's `Session` is a state machine with a scheduler around it: global sockets, a thread, and queues that every
waiting caller drains, so that one BMC's malformed packet is raised in the call to another. Here only the state machine
is used. Each session has a connected socket and timers of its own and shares nothing: a fault stays where it arose.

What is decided differently from pyghmi: IPMI 1.5 is refused (MD5, predictable session ids), so is a BMC that picks "no
authentication"; a request that may not be sent twice is sent once; the session never logs in again by itself.
"""

from __future__ import annotations

import asyncio
import collections
import random
import threading
from typing import Any, cast

from pyghmi.exceptions import IpmiException
from pyghmi.ipmi.private.session import Session

from provisioner.bmc.ipmi.messages import Trouble

RETRANSMIT_S = (1.0, 1.5, 2.0, 2.5)
"""Pauses after each transmission of a request: seven seconds of silence end a session that was up."""

LOGIN_RETRANSMIT_S = (1.0, 1.5, 2.0)
"""The same for each message of the login; the caller's connect deadline is shorter than all of them together."""

ONCE_S = 15.0
"""So long a request is waited for that is sent once: boards answer a power cycle late."""

MAX_NONSENSE = 2
"""Transmissions of one message that may be answered by nonsense: a packet may be broken on its way, not every one."""

_SHA1, _SHA256 = 1, 256
_USER = 2
_LESS_PRIVILEGE = (0x09, 0x0A)
"""RAKP status "invalid role" and "unauthorized role or privilege level" (IPMI 2.0 table 13-15)."""
_OPEN_ANSWER_SIZE = 36
_ALGORITHMS = {1: (1, 1, 1), 256: (3, 4, 1)}
"""Authentication, integrity and confidentiality numbers of cipher suites 3 and 17 (IPMI 2.0 table 22-20)."""

MAX_RESTARTS = 8
"""Logins that broke off in the middle: a line that loses one packet in five gets through before."""

_AUTH_WORDS = ("Incorrect password", "Unauthorized name", "integrity code", "Invalid integrity check")
_PRIVILEGE_WORDS = ("privilege", "privelege", "Unauthorized role", "Invalid role")
_BUSY_WORDS = ("Insufficient resources",)


class SessionError(Exception):
    """The session is of no more use."""

    def __init__(self, trouble: Trouble, said: str, *, sent: bool = False) -> None:
        super().__init__(said)
        self.trouble = trouble
        self.said = said
        self.sent = sent
        """It ended under a request that was on its way."""


def trouble_of(words: str) -> Trouble:
    """Sort pyghmi's sentence on a failed login."""
    for trouble, known in (
        (Trouble.AUTH, _AUTH_WORDS),
        (Trouble.PRIVILEGE, _PRIVILEGE_WORDS),
        (Trouble.BUSY, _BUSY_WORDS),
        (Trouble.UNREACHABLE, ("timeout", "no longer connected", "failed to initialize")),
    ):
        if any(word in words for word in known):
            return trouble
    return Trouble.PROTOCOL


class LanSession(Session, asyncio.DatagramProtocol):
    """A session with one BMC. One request at a time: the caller keeps the order."""

    def __new__(cls, *_: object, **__: object) -> LanSession:
        """Leave out pyghmi's table of sessions: nothing is shared."""
        return object.__new__(cls)

    def __init__(self, username: str, password: str) -> None:
        self.userid, self.password = username.encode(), password.encode()
        self.kgo, self.kg = None, self.password
        self.bmc, self.port, self.socket, self.sockaddr = "", 0, None, None
        self.privlevel, self.autopriv, self.nameonly = 4, True, 16
        self.broken = self.nowait = self.servermode = self.cleaningup = self.incommand = False
        self.lastpayload = self.onlogpayload = self.lastresponse = self._customkeepalives = None
        self.last_payload_type: int | None = None
        self.maxtimeout, self.logontries, self.logged, self.logging = 2, 0, 0, False
        self.pendingpayloads: collections.deque[Any] = collections.deque()
        self.evq: collections.deque[Any] = collections.deque()
        self.logonwaiters: list[Any] = []
        self.request_entry: list[Any] = []
        self.atomicop = threading.RLock()
        self.faults = 0
        self._fault = ""
        self._answered_badly: set[int] = set()
        """Which transmissions of the message under way were answered by what cannot be read."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent = 0
        self._began = 0.0
        self._patience = 1.0
        """How many times longer than usual the login waits: the first answer shows how slow the board is."""
        self._waiting: asyncio.Future[Any] | None = None
        self._restarts = 0
        self.used_at = self._loop.time()

    # -- what the worker calls ------------------------------------------------------------------------------------

    async def open(self, host: str, port: int) -> None:
        """Log in: cipher suite 17, then 3. Raises `SessionError`."""
        try:
            await self._loop.create_datagram_endpoint(lambda: self, remote_addr=(host, port))
        except OSError as error:
            raise SessionError(Trouble.UNREACHABLE, f"{error.strerror or error}") from error
        except UnicodeError as error:  # on record without a look at it, by an older version
            raise SessionError(Trouble.UNREACHABLE, f"{host!r} is no name of a host: {error}") from error
        self._waiting = self._loop.create_future()
        self._start(self.login)
        await self._result()

    async def request(self, netfn: int, command: int, data: bytes, *, repeat: bool, lun: int = 0) -> tuple[int, bytes]:
        """Send one request; return completion code and data. After a `SessionError` the session is of no use."""
        if not self.logged:
            raise SessionError(Trouble.UNREACHABLE, "the session has ended")
        self._waiting = self._loop.create_future()
        self._fault = ""
        self._next_message()
        self.ipmicallback = self._answered
        self._start(lambda: self._send_ipmi_net_payload(netfn, command, data, retry=repeat, rslun=lun))
        try:
            async with asyncio.timeout(None if repeat else ONCE_S):
                code, answer = await self._result()
        except TimeoutError as error:
            raise SessionError(Trouble.UNREACHABLE, f"no answer within {ONCE_S:.0f} s", sent=True) from error
        except SessionError as error:
            error.sent = True
            raise
        self.used_at = self._loop.time()
        return int(code), bytes(answer)

    def send_console(self, payload: bytes) -> None:
        """Send a payload of the serial console at once. Its machine repeats it: one that waits would be typed twice."""
        if self.usable:
            self._start(lambda: self._send_beside(bytearray(payload)))

    def _send_beside(self, payload: bytearray) -> None:
        """Send what is no request: pyghmi keeps anything back while a request waits for its answer."""
        waiting, self.lastpayload = self.lastpayload, None
        try:
            self.send_payload(payload, payload_type=1, retry=False)
        finally:
            self.lastpayload = waiting

    def leave(self) -> None:
        """Tell the BMC that the session ends (Close Session), without waiting for what it says."""
        if self.logged and self._transport is not None and not self._transport.is_closing():
            self.ipmicallback = self._ignored
            session = self.sessionid.to_bytes(4, "little")
            self._start(lambda: self._send_ipmi_net_payload(6, 0x3C, session, retry=False))
        self.abandon()

    def abandon(self) -> None:
        """Free the socket and the timer."""
        self.logged, self.logging, self.broken = 0, False, True
        self._disarm()
        if self._transport is not None:
            self._transport.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.cancel()

    @property
    def usable(self) -> bool:
        """Say whether a request can be sent."""
        return bool(self.logged) and not self.broken

    async def _result(self) -> Any:
        assert self._waiting is not None
        try:
            return await self._waiting
        finally:
            self._disarm()

    def _start(self, step: Any) -> None:
        """Run a step of pyghmi's code; whatever it raises ends this session and no other."""
        try:
            step()
        except SessionError as error:
            self._fail(error)
        except IpmiException as error:
            self._fail(SessionError(trouble_of(str(error)), str(error)))
        except Exception as error:  # noqa: BLE001 - pyghmi raises struct.error, IndexError, TypeError ... on odd packets
            self._fail(SessionError(Trouble.PROTOCOL, f"{type(error).__name__}: {error}"))

    def _settle(self, value: Any) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(value)

    def _fail(self, error: SessionError) -> None:
        self.logged, self.logging, self.broken = 0, False, True
        self._disarm()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    # -- asyncio's side -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, _addr: object) -> None:
        """Give a packet to the state machine. One that it cannot read is counted: the next may be the answer."""
        try:
            if len(data) >= 16 and data[0] == 6 and data[2:4] == b"\xff\x07":
                self._handle_ipmi_packet(bytearray(data), qent=(data, None, None))
        except SessionError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - see _start
            self.faults += 1
            self._fault = f"{type(error).__name__}: {error}"
            self._answered_badly.add(self._sent)
            if len(self._answered_badly) >= MAX_NONSENSE:
                self._fail(self._nonsense())

    def error_received(self, error: Exception) -> None:
        """Take ICMP's word (port or host unreachable): no need to wait for silence."""
        self._fail(SessionError(Trouble.UNREACHABLE, getattr(error, "strerror", None) or str(error)))

    # -- pyghmi's side: what it calls, answered without its scheduler ----------------------------------------------

    def login(self) -> None:
        self.logontries = 0
        self._initsession()
        # Not used before, so that an answer to a session from before this process is not taken for ours.
        self.localsid = random.SystemRandom().randrange(1 << 24, 1 << 31)
        self._began = self._loop.time()
        self._get_channel_auth_cap()

    def _xmit_packet(self, retry: bool = True, delay_xmit: float | None = None, timeout: float | None = None) -> None:
        if self.sequencenumber:
            self.sequencenumber += 1
        if self._transport is not None:
            self._transport.sendto(bytes(self.netpacket))
        if retry:
            self._disarm()
            pauses, times = (RETRANSMIT_S, 1.0) if self.logged else (LOGIN_RETRANSMIT_S, self._patience)
            pause = pauses[min(self._sent, len(pauses) - 1)] * times
            self._timer = self._loop.call_later(pause, self._timedout)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timedout(self) -> None:
        if not self.lastpayload:  # nothing is there to send again
            if self._fault:
                self._fail(self._nonsense())
            return
        self._sent += 1
        if self._sent >= len(RETRANSMIT_S if self.logged else LOGIN_RETRANSMIT_S):
            if self._fault:
                self._fail(self._nonsense())
            else:
                self._fail(SessionError(Trouble.UNREACHABLE, "no answer"))
            return
        self._start(self._again)

    def _next_message(self) -> None:
        self._sent = 0
        self._answered_badly.clear()

    def _nonsense(self) -> SessionError:
        return SessionError(Trouble.PROTOCOL, f"only packets that cannot be read: {self._fault}")

    def _again(self) -> None:
        match self.sessioncontext:
            case "OPENSESSION":  # a new tag and id, so that a late answer to the first is not taken for this one's
                self.lastpayload = None
                self._open_rmcpplus_request()
            case "EXPECTINGRAKP2" | "EXPECTINGRAKP4":  # BMCs do not take RAKP 1 or 3 twice: begin anew
                self._restarts += 1
                if self._restarts > MAX_RESTARTS:
                    raise SessionError(Trouble.UNREACHABLE, f"no answer in the middle of {MAX_RESTARTS} logins")
                sent = self._sent
                self.login()
                self._sent = sent
            case _:
                self.hasretried = 1
                self.send_payload()

    def _parse_payload(self, payload: bytearray) -> None:
        """Take an answer. Only one that can be read ends the wait: behind one that cannot, the right one may come."""
        before, self._timer = self._timer, None
        try:
            super()._parse_payload(payload)
        except Exception:
            if self._timer is None:
                self._timer, before = before, None
            raise
        finally:
            if before is not None:
                before.cancel()

    def _got_channel_auth_cap(self, response: dict[str, Any]) -> None:
        self._next_message()
        self._patience = max(self._patience, 2 * (self._loop.time() - self._began))  # RAKP is begun anew, not repeated
        data = response.get("data", b"")
        if response.get("code") == 0 and not (len(data) > 3 and data[1] & 0x80 and data[3] & 0x02):
            raise SessionError(
                Trouble.PROTOCOL, "the BMC offers IPMI 1.5 only, which is refused: its sessions are forgeable"
            )
        if response.get("code") == 0xCC:
            raise SessionError(
                Trouble.PROTOCOL, "the BMC does not know IPMI 2.0 (completion code 0xcc); 1.5 is refused"
            )
        super()._got_channel_auth_cap(response)

    def _got_rmcp_response(self, data: bytearray) -> Any:
        """Check that the BMC picked what was proposed before any secret is used (C-P2: suite 0 is never taken)."""
        if self.sessioncontext is None:
            raise ValueError("a session is opened that was not asked for")
        if len(data) >= _OPEN_ANSWER_SIZE and data[0] == self.rmcptag and data[1] == 0:
            picked = (data[16], data[24], data[32])
            if picked != _ALGORITHMS[self.attemptedhash]:
                if self.attemptedhash == _SHA256 and picked == _ALGORITHMS[_SHA1]:
                    self.attemptedhash = _SHA1  # it answers with suite 3 whatever it is asked: propose that
                    self.lastpayload = None
                    self._open_rmcpplus_request()
                    return None
                raise SessionError(Trouble.PROTOCOL, f"the BMC picked algorithms {picked} that were not proposed")
            self._next_message()
        return super()._got_rmcp_response(data)

    def _got_rakp2(self, data: bytearray) -> Any:
        """Ask for less where the account may not be administrator: operator, then user."""
        refused = len(data) > 1 and data[0] == self.rmcptag and data[1] in _LESS_PRIVILEGE
        if refused and self.sessioncontext == "EXPECTINGRAKP2" and self.privlevel > _USER:
            self.privlevel -= 1
            self.login()
            return None
        return super()._got_rakp2(data)

    def _req_priv_level(self) -> None:
        """Ask for the privilege that RAKP agreed on; pyghmi waits here, we go on when the answer comes."""
        self._next_message()
        self.ipmicallback = self._got_privilege
        self._send_ipmi_net_payload(netfn=6, command=0x3B, data=[self.privlevel])

    def _got_privilege(self, response: dict[str, Any]) -> None:
        code = response.get("code")
        if code in (0x80, 0x81) and self.privlevel == 4:
            self.privlevel = 3
            self._req_priv_level()
        elif code:
            self._fail(SessionError(Trouble.PRIVILEGE, f"privilege level {self.privlevel} refused, code 0x{code:02x}"))
        else:
            self.logged, self.logging = 1, False
            self._settle(None)

    def onlogon(self, parameter: dict[str, Any]) -> None:
        words = str(parameter.get("error", "login failed"))
        self._fail(SessionError(trouble_of(words), words))

    def _mark_broken(self, error: str | None = None) -> None:
        self._fail(SessionError(Trouble.UNREACHABLE, error or "the session has ended"))

    def _answered(self, response: dict[str, Any]) -> None:
        self._settle((response["code"], response["data"]))

    def _ignored(self, _response: dict[str, Any]) -> None:
        """The answer to Close Session tells nothing that matters."""
