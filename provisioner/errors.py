"""Every error that we raise, as one tree. No I/O.

    ProvisionerError
    ├── WireError               bytes from a peer are not what the protocol says
    ├── ConfigError             what an operator wrote is wrong; carries every fault found, not only the first
    │   ├── SelectorError       a text that names no machines: wrong usage of a command
    │   └── CatalogError        the same for a bootenv or a template
    │       ├── LackingError    what was applied is not in use: nothing is resolved without it, for now
    │       └── RenderError     a template could not be rendered for a machine
    │           └── RefusedError    its hardware, or the installer, cannot give what is asked for
    ├── NotFoundError           no such machine, bootenv, run, artefact ...
    ├── CursorError             a cursor is none of those that there is something after
    ├── ConflictError           the state, the generation or a name does not allow it
    ├── PreflightError          an operation was refused before anything was touched, for another reason than these
    ├── ArtifactError           an artefact is missing, half there or not what was signed
    │   └── FullError           there is no room for it on the disk
    ├── TicketError             a ticket is unknown, late or somebody else's
    │   ├── TicketUsedError     it was good once
    │   └── RunOverError        the run that it is of is over: whoever holds it is to stop
    ├── StoreError              the durable state could not be read or written
    ├── DnsError                a DNS server did not take an update: it is tried again
    ├── ListenError             a port or interface could not be bound
    ├── LabError                the virtual rack could not do what was asked
    ├── ApiError                the daemon did not answer, or not as agreed (raised in the command line)
    └── BmcError                a BMC did not do it; says which driver, which BMC, what the BMC said
        ├── BmcUnreachable      no answer: retry
        ├── BmcTimeout          an answer, but the end state did not come in time
        ├── BmcAuthError        user or password refused: never retry
        │   ├── BmcNotTrusted   its key is not the one that was pinned
        │   │   └── BmcStranger it is another machine's board
        │   └── BmcConsoleRefused   its console refused them, a service of its own: nothing else is held back
        ├── BmcPrivilegeError   the account may not do this
        ├── BmcUnsupported      the board cannot do this; nothing was done instead
        │   └── BmcLacking      it says that it has no such thing, and so do others of its kind
        ├── BmcBusy             come back later
        ├── BmcProtocolError    an answer that the specification does not allow
        └── BmcWrongState       not possible in the state the machine is in

A message says what, where and the value, and what to do: it is shown to an operator as it is.
Raise the narrowest; make a class only where a caller does something else for it.
"""

from __future__ import annotations

from collections.abc import Sequence


class ProvisionerError(Exception):
    """The root of all our errors."""

    def __init__(self, message: str, *, faults: Sequence[str] = (), hint: str = "") -> None:
        message = "\n".join((message, *(f"  {fault}" for fault in faults)))
        super().__init__(message)
        self.message = message
        self.faults = tuple(faults)
        """Where several things were looked at: a line for each that was found."""
        self.hint = hint
        """What the operator can do next, as a sentence or a command; empty where there is nothing to say."""

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class WireError(ProvisionerError):
    """Bytes from a peer are not what the protocol says."""


class ConfigError(ProvisionerError):
    """What an operator wrote is wrong: every fault that was found."""


class SelectorError(ConfigError):
    """What an operator typed is no selector of machines."""


class CatalogError(ConfigError):
    """A bootenv or a template is wrong."""


class LackingError(CatalogError):
    """What was applied to the catalogue is not in use, and without it nothing is resolved: come back later."""


class RenderError(CatalogError):
    """A template could not be rendered for a machine."""


class RefusedError(RenderError):
    """A template says itself that this machine, or this installer, cannot give what is asked for."""


class NotFoundError(ProvisionerError):
    """There is no such machine, bootenv, run or artefact."""


class CursorError(ProvisionerError):
    """Something that comes after a cursor is no longer kept: whoever holds it has to begin anew, or at `oldest`."""

    def __init__(self, message: str, *, oldest: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.oldest = oldest
        """Number of the first that is still there."""


class ConflictError(ProvisionerError):
    """The state, the generation or a taken name does not allow it."""


class PreflightError(ProvisionerError):
    """An operation was refused before anything was touched: every check that failed."""


class ArtifactError(ProvisionerError):
    """An artefact is missing, half there, or not what was signed."""


class FullError(ArtifactError):
    """There is no room for an artefact on the disk."""


class TicketError(ProvisionerError):
    """A ticket is unknown, used, late or somebody else's."""


class TicketUsedError(TicketError):
    """A ticket was good once, and what it is for has been given."""


class RunOverError(TicketError):
    """What an agent does was ended, or another run began since: it is to stop."""


class StoreError(ProvisionerError):
    """The durable state could not be read or written."""


class DnsError(ProvisionerError):
    """A DNS server did not take an update."""


class ListenError(ProvisionerError):
    """A port or an interface could not be bound."""


class LabError(ProvisionerError):
    """The virtual rack could not do what was asked."""


class ApiError(ProvisionerError):
    """The daemon did not answer, or not as agreed."""


class BmcError(ProvisionerError):
    """A BMC did not do what was asked."""


class BmcUnreachable(BmcError):
    """No answer from the BMC."""

    def __init__(self, message: str, *, hint: str = "", silent: bool = False, unsent: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.silent = silent
        """It took a request, and gave no answer for as long as it had: whoever only looks asks no second time."""
        self.unsent = unsent
        """It was sent nothing: there was no connection. What was asked for was not done."""


class BmcTimeout(BmcError):
    """The BMC answered, but the wanted end state was not observed in time."""


class BmcAuthError(BmcError):
    """The BMC refused user or password. Never retried: accounts lock."""


class BmcNotTrusted(BmcAuthError):
    """What the BMC shows of itself is not what was pinned, and no password was sent."""


class BmcStranger(BmcNotTrusted):
    """The board that answers says that it is another machine's; nothing was changed on it."""


class BmcConsoleRefused(BmcAuthError):
    """The console, which is a service of its own, refused user or password. All else may take them."""


class BmcPrivilegeError(BmcError):
    """The account may not do this."""


class BmcUnsupported(BmcError):
    """The board cannot do this, and nothing else was done in its place."""


class BmcLacking(BmcUnsupported):
    """The board says that it has no such thing: what holds for all boards of its model and firmware."""


class BmcBusy(BmcError):
    """The BMC asks to come back later."""

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class BmcProtocolError(BmcError):
    """The BMC gave an answer that its specification does not allow."""


class BmcWrongState(BmcError):
    """Not possible in the state that the machine is in."""
