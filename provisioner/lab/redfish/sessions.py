"""Redfish sessions and who may do what (DSP0266 section 13). No I/O; time comes in as `now`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from provisioner.lab.board import Account, Accounts, Role
from provisioner.lab.redfish.answer import Refusal

SESSIONS = 16
"""As many as boards of this class offer; the next login is refused."""
TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True)
class Session:
    """One login. `token` is its secret; `heard` is when it was last used."""

    id: str
    token: str
    slot: int
    heard: float


class Sessions:
    """The sessions of one board. `secret` makes a new token."""

    def __init__(self, accounts: Accounts, secret: Callable[[], str]) -> None:
        self.timeout_s = TIMEOUT_S
        self.limit = SESSIONS
        self._accounts = accounts
        self._secret = secret
        self._open: dict[str, Session] = {}
        self._numbers = 0

    def all(self, now: float) -> list[Session]:
        """The sessions that have not timed out."""
        self._open = {one.id: one for one in self._open.values() if now - one.heard <= self.timeout_s}
        return list(self._open.values())

    def get(self, number: str) -> Session | None:
        return self._open.get(number)

    def log_in(self, name: str, password: str, now: float) -> Session:
        """Open a session; refuses wrong credentials, and one too many."""
        account = self._check(name, password)
        if len(self.all(now)) >= self.limit:
            raise Refusal(503, "SessionLimitExceeded", "The session limit is exceeded.", headers={"Retry-After": "30"})
        self._numbers += 1
        session = Session(str(self._numbers), self._secret(), account.slot, now)
        self._open[session.id] = session
        return session

    def log_out(self, number: str) -> bool:
        """End a session; says whether there was one."""
        return self._open.pop(number, None) is not None

    def drop_all(self) -> None:
        """Forget every session, as boards do that restart."""
        self._open.clear()

    def authenticate(self, headers: Mapping[str, str], now: float) -> Account | None:
        """Whose request this is, by token or by basic authentication; None where it carries neither."""
        token = headers.get("X-Auth-Token")
        if token is not None:
            return self._by_token(token, now)
        kind, _, value = headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        name, _, password = _basic(value).partition(":")
        return self._check(name, password)

    def _by_token(self, token: str, now: float) -> Account:
        session = next((one for one in self.all(now) if one.token == token), None)
        account = self._accounts.get(session.slot) if session else None
        if session is None or account is None or not account.may_log_in:
            raise _unauthorized("There is no valid session with this token.")
        self._open[session.id] = replace(session, heard=now)
        return account

    def _check(self, name: str, password: str) -> Account:
        account = self._accounts.named(name)
        if account is None or account.password != password:
            raise _unauthorized("The user name or password is wrong.")
        return account


def _basic(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _unauthorized(text: str) -> Refusal:
    return Refusal(401, "ResourceAtUriUnauthorized", text, headers={"WWW-Authenticate": 'Basic realm="BMC"'})


def require(account: Account, role: Role) -> None:
    """Refuse what the account may not do."""
    if account.role < role:
        raise Refusal(403, "InsufficientPrivilege", f"This takes the role {role.name.capitalize()}.")
