"""Errors as HTTP answers: RFC 9457 problem details, one status for each class of `errors.py`. No I/O."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from provisioner import errors


class StaleError(errors.ConflictError):
    """The caller decided on a generation that is no longer the current one (RFC 9110 section 13.1.1)."""


CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:problem:provisioner:"

STATUS: dict[type[errors.ProvisionerError], tuple[int, str]] = {
    # the most specific class of an error's ancestors decides; the title never changes with the occurrence
    errors.ProvisionerError: (500, "the daemon could not do it"),
    errors.WireError: (400, "the request is not what the protocol says"),
    errors.ConfigError: (422, "something that an operator wrote is wrong"),
    errors.SelectorError: (400, "the request is not what the protocol says"),
    errors.CatalogError: (422, "a bootenv or template is wrong"),
    errors.LackingError: (503, "what was applied is not in use"),
    errors.RenderError: (422, "a template could not be rendered"),
    errors.RefusedError: (422, "a machine or an installer cannot give what is asked"),
    errors.NotFoundError: (404, "there is no such thing"),
    errors.CursorError: (410, "nothing can be read on from this cursor"),
    errors.ConflictError: (409, "not possible as things stand"),
    StaleError: (412, "the machine has changed since it was read"),
    errors.PreflightError: (422, "refused before anything was touched"),
    errors.ArtifactError: (422, "an artefact is missing or not what was signed"),
    errors.FullError: (507, "there is no room on the disk"),
    errors.TicketError: (404, "there is no such thing"),
    errors.TicketUsedError: (410, "it was given already"),
    errors.RunOverError: (410, "its run is over"),
    errors.StoreError: (503, "the durable state could not be read or written"),
    errors.DnsError: (502, "a DNS server did not take an update"),
    errors.ListenError: (500, "a port or interface could not be bound"),
    errors.LabError: (500, "the virtual rack could not do it"),
    errors.ApiError: (502, "another daemon did not answer as agreed"),
    errors.BmcError: (502, "the BMC did not do it"),
    errors.BmcUnreachable: (504, "the BMC does not answer"),
    errors.BmcTimeout: (504, "the BMC answered, but the end state did not come"),
    errors.BmcAuthError: (502, "the BMC refused user or password"),
    errors.BmcNotTrusted: (502, "what the BMC shows is not what was pinned"),
    errors.BmcStranger: (502, "the BMC is another machine's"),
    errors.BmcConsoleRefused: (502, "the BMC's console refused user or password"),
    errors.BmcPrivilegeError: (502, "the BMC account may not do this"),
    errors.BmcUnsupported: (422, "the board cannot do this"),
    errors.BmcLacking: (422, "the board has no such thing"),
    errors.BmcBusy: (503, "the BMC asks to come back later"),
    errors.BmcProtocolError: (502, "the BMC's answer is not what its specification allows"),
    errors.BmcWrongState: (409, "not possible in the state the machine is in"),
}

_NAMES = {
    errors.ProvisionerError: "internal",
    errors.WireError: "bad-request",
    errors.SelectorError: "bad-request",
    errors.TicketError: "not-found",
    errors.TicketUsedError: "gone",
    errors.RunOverError: "gone",
    errors.BmcConsoleRefused: "bmc-auth",
    errors.BmcLacking: "bmc-unsupported",
}


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an answer that is not a success. `hint` and `faults` are extension members (RFC 9457 section 3.2)."""

    type: str
    title: str
    status: int
    detail: str = ""
    hint: str = ""
    faults: tuple[str, ...] = ()
    retry_after_s: float | None = None


def problem_of(error: errors.ProvisionerError) -> Problem:
    """Translate one of our errors. What is not in the table answers as its nearest ancestor does."""
    kind = next(cls for cls in type(error).__mro__ if cls in STATUS)
    status, title = STATUS[kind]
    detail = error.message.split("\n", 1)[0] if error.faults else error.message
    pause = getattr(error, "retry_after_s", None)
    return Problem(TYPE_PREFIX + _name(kind), title, status, detail, error.hint, error.faults, pause)


def plain_problem(status: int, detail: str, *, name: str = "", hint: str = "") -> Problem:
    """Make a problem of HTTP itself: an unknown path, a method, a body that is too large."""
    title = HTTPStatus(status).phrase.lower()
    return Problem(TYPE_PREFIX + (name or title.replace(" ", "-")), title, status, detail, hint)


def _name(kind: type[errors.ProvisionerError]) -> str:
    """Spell `BmcUnreachable` as `bmc-unreachable` and `NotFoundError` as `not-found`."""
    if kind in _NAMES:
        return _NAMES[kind]
    words = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__)
    return words.strip("-").removesuffix("-error")
