"""Exit statuses, and which error ends with which. docs/cli.md lists them for scripts. No I/O."""

from __future__ import annotations

from enum import IntEnum

from provisioner import errors


class Exit(IntEnum):
    """What a command ends with. 0, 1, 2, 124 and 130 mean what they mean everywhere."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    AUTH = 5
    UNREACHABLE = 6
    PARTIAL = 7
    TIMED_OUT = 124
    INTERRUPTED = 130


class ApiProblem(errors.ApiError):
    """The daemon answered with a problem (RFC 9457)."""

    def __init__(self, status: int, message: str, *, hint: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.faults = faults


class Unreachable(errors.ApiError):
    """Nobody answers at the daemon's address."""


class Stranger(errors.ApiError):
    """Something else than a daemon's operator API answers at its address."""


class Forbidden(errors.ApiError):
    """The socket is there, but this user may not open it."""


class WaitTimeout(errors.ApiError):
    """The time that was given to --wait is up; what runs goes on."""


class NoneDid(errors.ApiError):
    """None of several machines did; `status` is what each of them alone would have ended with."""

    def __init__(self, message: str, status: Exit) -> None:
        super().__init__(message)
        self.status = status


class Partly(errors.ApiError):
    """Some of several machines did, some did not."""


_BY_STATUS = {
    400: Exit.USAGE,
    401: Exit.AUTH,
    403: Exit.AUTH,
    404: Exit.NOT_FOUND,
    405: Exit.USAGE,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
}
_BY_CLASS: dict[type[errors.ProvisionerError], Exit] = {
    Unreachable: Exit.UNREACHABLE,
    Stranger: Exit.UNREACHABLE,
    Forbidden: Exit.AUTH,
    WaitTimeout: Exit.TIMED_OUT,
    Partly: Exit.PARTIAL,
    errors.NotFoundError: Exit.NOT_FOUND,
    errors.ConflictError: Exit.CONFLICT,
}


def exit_of(error: errors.ProvisionerError) -> Exit:
    """Say what a command that was ended by `error` exits with."""
    if isinstance(error, ApiProblem):
        return _BY_STATUS.get(error.status, Exit.FAILED)
    if isinstance(error, NoneDid):
        return error.status
    return next((_BY_CLASS[cls] for cls in type(error).__mro__ if cls in _BY_CLASS), Exit.FAILED)
