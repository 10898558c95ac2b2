"""Read what a Redfish service answers: bodies of any shape, errors of any wording (DSP0266 sections 7 to 9). No I/O.

A hostile or broken BMC sends HTML, half a document, lists where objects belong, numbers where text belongs. Whatever
comes is a value or a `WireError`; a field of the wrong type counts as absent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcError,
    BmcLacking,
    BmcPrivilegeError,
    BmcProtocolError,
    BmcUnsupported,
    BmcWrongState,
    WireError,
)

MAX_BODY = 4 << 20
"""The largest resource seen, a full BIOS attribute registry, is 1.5 MB."""

MAX_SAID = 300
MAX_RETRY_AFTER_S = 60

_BY_MESSAGE: dict[str, type[BmcError]] = {
    "PasswordChangeRequired": BmcAuthError,
    "ResourceInUse": BmcBusy,
    "ServiceTemporarilyUnavailable": BmcBusy,
    "ServiceShuttingDown": BmcBusy,
    "ResourceInStandby": BmcBusy,
    "CreateLimitReachedForResource": BmcBusy,
    "SessionLimitExceeded": BmcBusy,
    "InsufficientPrivilege": BmcPrivilegeError,
    "ResourceAtUriUnauthorized": BmcPrivilegeError,
    "AccessDenied": BmcPrivilegeError,
    "ServerAlreadyPoweredOn": BmcWrongState,
    "ServerAlreadyPoweredOff": BmcWrongState,
    "ChassisPowerStateOnRequired": BmcWrongState,
    "ChassisPowerStateOffRequired": BmcWrongState,
    "ResourceCannotBeDeleted": BmcWrongState,
    "ResourceExistsAlready": BmcWrongState,
    "InvalidOperationForSystemState": BmcWrongState,
    "ActionNotSupported": BmcLacking,
    "ActionParameterNotSupported": BmcLacking,
}
"""What a message of the Base registry means, whatever status a board sends it with."""

_BY_STATUS: dict[int, type[BmcError]] = {
    **dict.fromkeys((400, 404, 405, 410, 501), BmcUnsupported),
    401: BmcAuthError,
    403: BmcPrivilegeError,
    **dict.fromkeys((409, 412, 428), BmcWrongState),
    **dict.fromkeys((423, 429, 500, 502, 503, 504), BmcBusy),
}

_HINTS: dict[type[BmcError], str] = {
    BmcAuthError: "check user and password; nothing is retried, because accounts lock",
    BmcPrivilegeError: "the account needs the Administrator or Operator role",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. Header names are in lower case."""

    path: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Say whether the service did, or took, what was asked."""
        return 200 <= self.status < 300

    @property
    def leads_to(self) -> str:
        """Return the path of what it made or began; empty where it names none."""
        try:
            parts = urlsplit(self.headers.get("location", ""))  # with a name of the board's own, unknown here, at times
        except ValueError:
            return ""
        return parts.path + (f"?{parts.query}" if parts.query else "")


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as it was read: where, what, and its version."""

    path: str
    data: Mapping[str, Any]
    etag: str = ""

    def text(self, *keys: str) -> str:
        """Return the string at this place; empty where there is none."""
        return text_at(self.data, *keys)

    def link(self, *keys: str) -> str:
        """Return the path that this place refers to; empty where there is none."""
        return text_at(self.data, *keys, "@odata.id")

    def table(self, *keys: str) -> Mapping[str, Any]:
        """Return the object at this place; empty where there is none."""
        value = value_at(self.data, *keys)
        return value if isinstance(value, dict) else {}

    def texts(self, *keys: str) -> tuple[str, ...]:
        """Return the strings of the list at this place."""
        return texts_of(value_at(self.data, *keys))

    def rows(self, *keys: str) -> tuple[Resource, ...]:
        """Return the objects of the list at this place, each as a resource without a path."""
        listed = value_at(self.data, *keys)
        return tuple(Resource("", one) for one in listed if isinstance(one, dict)) if isinstance(listed, list) else ()

    def members(self, key: str = "Members") -> tuple[str, ...]:
        """Return the paths that a collection, or a list of links, refers to."""
        listed = value_at(self.data, key)
        paths = (text_at(item, "@odata.id") for item in listed) if isinstance(listed, list) else ()
        return tuple(path for path in paths if path)


def value_at(data: Any, *keys: str) -> Any:
    """Follow keys through nested objects; None where one is missing or not an object."""
    for key in keys:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def text_at(data: Any, *keys: str) -> str:
    """Follow keys to a string; empty where there is none."""
    value = value_at(data, *keys)
    return value if isinstance(value, str) else ""


def texts_of(value: Any) -> tuple[str, ...]:
    """Return the strings of a list; nothing where it is not a list."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def number_of(value: Any) -> float | None:
    """Return a number that fits the specification's 64 bits; None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if -MAX_NUMBER <= value <= MAX_NUMBER else None


MAX_NUMBER = (1 << 63) - 1
"""Edm.Int64, as what is counted is. JSON takes any number, Python's reader even those that are none (NaN)."""

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape of a surrogate: where it is not one of two, JSON takes it and UTF-8 has nothing for it."""


def read_body(reply: Reply) -> dict[str, Any]:
    """Decode a body that has to be a JSON object; raise `WireError` with what came instead."""
    try:
        text = reply.body.decode("utf-8-sig")
        value = json.loads(text)
        if _HALF.search(text):
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise WireError(f"{reply.path}: not JSON ({_kind(reply)}): {clean(reply.body[:60])!r}") from error
    if not isinstance(value, dict):
        raise WireError(f"{reply.path}: {type(value).__name__} where a JSON object belongs")
    return value


def read_resource(reply: Reply) -> Resource:
    """Decode a resource and its version: the ETag header, or the property that stands for it."""
    data = read_body(reply)
    return Resource(reply.path, data, reply.headers.get("etag", "") or text_at(data, "@odata.etag"))


def _kind(reply: Reply) -> str:
    kind = clean(reply.headers.get("content-type", "no content type"))
    return f"HTTP {reply.status}, {kind}, {len(reply.body)} bytes"


def clean(text: str | bytes) -> str:
    """Make a peer's words safe to print: no control characters, bounded."""
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return "".join(char if char.isprintable() else " " for char in decoded)[:MAX_SAID].strip()


_REPEATS = frozenset({"message", "messageargs", "resolution", "jsonbody"})
"""Where a service may repeat what it was sent, beside whatever is called a password."""


def without(body: bytes, secrets: Sequence[str]) -> bytes:
    """Take secrets out of what a service says, so that no error or log can carry them.

    Names and paths stay: a password may be the user's name as well. A body that is no JSON is text as a whole.
    """
    if not any(secret.encode() in body for secret in secrets):
        return body
    try:
        return json.dumps(_hidden(json.loads(body.decode("utf-8-sig")), secrets, said=False)).encode()
    except (ValueError, RecursionError):
        return _blank(body.decode("utf-8", "replace"), secrets).encode()


def _hidden(value: Any, secrets: Sequence[str], *, said: bool) -> Any:
    match value:
        case dict():
            return {key: _hidden(each, secrets, said=_is_said(key)) for key, each in value.items()}
        case list():
            return [_hidden(each, secrets, said=said) for each in value]
        case str() if said:
            return _blank(value, secrets)
    return value


def _is_said(key: str) -> bool:
    return key.lower() in _REPEATS or key.lower().endswith("password")


def _blank(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def message_ids(data: Any) -> tuple[str, ...]:
    """Return the last parts of the message ids in an error body, such as "InsufficientPrivilege"."""
    return tuple(text_at(message, "MessageId").rsplit(".", 1)[-1] for message in _messages(data))


def _messages(data: Any) -> list[Any]:
    for holder in (value_at(data, "error"), data):
        listed = value_at(holder, "@Message.ExtendedInfo")
        if isinstance(listed, dict):  # seen where a list belongs
            listed = [listed]
        if isinstance(listed, list) and listed:
            return listed[:8]
    return []


def said(reply: Reply) -> str:
    """Return what the service said of an error, in its own words."""
    try:
        data = read_body(reply)
    except WireError:
        return clean(reply.body) if _is_text(reply) else ""
    words = [text_at(message, "Message") or text_at(message, "MessageId") for message in _messages(data)]
    return clean("; ".join(word for word in words if word) or text_at(data, "error", "message"))


def _is_text(reply: Reply) -> bool:
    return reply.headers.get("content-type", "").startswith("text/plain")


def retry_after(reply: Reply) -> float | None:
    """Read Retry-After in seconds (RFC 9110 section 10.2.3); a date, or nonsense, is None."""
    try:
        seconds = int(reply.headers.get("retry-after", ""))
    except ValueError:
        return None
    return float(min(max(seconds, 0), MAX_RETRY_AFTER_S))


def failure(where: str, reply: Reply) -> BmcError:
    """Make the error for an answer that is not a success."""
    try:
        ids = message_ids(read_body(reply))
    except WireError:
        ids = ()
    known = (_BY_MESSAGE[name] for name in ids if name in _BY_MESSAGE)
    kind = next(known, None) if reply.status != 401 else BmcAuthError
    kind = kind or _BY_STATUS.get(reply.status, BmcProtocolError)
    words = said(reply)
    text = f"{where}: HTTP {reply.status}" + (f": {words}" if words else "")
    if kind is BmcBusy:
        return BmcBusy(text, retry_after_s=retry_after(reply))
    if "PasswordChangeRequired" in ids:
        return BmcAuthError(text, hint="the BMC wants its password changed before anything else")
    return kind(text, hint=_HINTS.get(kind, ""))


def refused_login(where: str, reply: Reply) -> BmcError:
    """Make the error for a login that was refused: many services answer 400 to a wrong password (iLO among them)."""
    error = failure(where, reply)
    return BmcAuthError(error.message, hint=_HINTS[BmcAuthError]) if isinstance(error, BmcUnsupported) else error
