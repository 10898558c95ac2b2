"""What a board with faults answers instead of, or makes of, the right answer. No I/O."""

from __future__ import annotations

from dataclasses import replace

from provisioner.lab.faults import DEAD_S, SLOW_S, Fault, Faults
from provisioner.lab.redfish.answer import Answer, error_body
from provisioner.lab.redfish.request import Request
from provisioner.lab.redfish.sessions import Sessions

LOGIN = "/redfish/v1/SessionService/Sessions"
PAGE = "<html><head><title>BMC</title></head><body>Please wait while the service starts</body></html>"


def instead(request: Request, faults: Faults, sessions: Sessions) -> Answer | None:
    """What is answered without a look at the request; None: go on."""
    unavailable = error_body("ServiceTemporarilyUnavailable", "The service is temporarily unavailable.")
    if faults.strikes(Fault.UNAVAILABLE):
        return Answer(503, unavailable, {"Retry-After": "2"})
    if request.method == "POST" and request.path == LOGIN and faults.strikes(Fault.SESSIONS_FULL):
        return Answer(503, error_body("SessionLimitExceeded", "There are too many sessions."), {"Retry-After": "5"})
    if "X-Auth-Token" in request.headers and faults.strikes(Fault.LOST_SESSION):
        sessions.drop_all()
    return _redirected(request, faults)


def _redirected(request: Request, faults: Faults) -> Answer | None:
    if request.method == "GET" and faults.strikes(Fault.REDIRECT_LOOP):
        return Answer(302, None, {"Location": request.path})
    if faults.on(Fault.SLASH_REDIRECT) and request.method == "GET" and not request.path.endswith("/"):
        return Answer(308, None, {"Location": request.path + "/"})
    if request.method == "PATCH" and faults.on(Fault.ETAG_REQUIRED) and "If-Match" not in request.headers:
        return Answer(428, error_body("PreconditionRequired", "If-Match is needed."))
    if request.method == "PATCH" and faults.strikes(Fault.ETAG_MOVES):
        return Answer(412, error_body("PreconditionFailed", "The ETag does not match the resource."))
    return None


def spoilt(answer: Answer, faults: Faults) -> Answer:
    """What becomes of the right answer on its way."""
    if faults.on(Fault.DEAD):
        return replace(answer, delay_s=DEAD_S)
    if answer.body is not None and answer.status < 300:
        if faults.strikes(Fault.NOT_JSON):
            answer = replace(answer, page=PAGE)
        elif faults.strikes(Fault.TRUNCATED):
            answer = replace(answer, is_cut=True)
    return replace(answer, delay_s=SLOW_S) if faults.strikes(Fault.SLOW_ANSWERS) else answer
