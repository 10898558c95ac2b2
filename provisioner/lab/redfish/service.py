"""The Redfish service of one board: method, path and body to an answer (DSP0266). No I/O; time comes in as `now`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from email.parser import BytesParser

from provisioner.lab.board import Account, Board, Role
from provisioner.lab.redfish import changes, misbehave, resources, tree
from provisioner.lab.redfish.answer import Answer, Body, Refusal, etag
from provisioner.lab.redfish.changes import ACCOUNTS_PATH
from provisioner.lab.redfish.request import Request
from provisioner.lab.redfish.resources import V1, collection, resource
from provisioner.lab.redfish.sessions import Session, Sessions, require

SESSION_SERVICE = f"{V1}/SessionService"
SESSIONS = f"{SESSION_SERVICE}/Sessions"
OPEN_TO_ALL = frozenset({"/redfish", V1, f"{V1}/odata", f"{V1}/$metadata"})
"""What a client may read before it logs in (section 13.3.1)."""
METADATA = (
    '<?xml version="1.0"?><edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0">'
    '<edmx:DataServices><Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="Service">'
    '<EntityContainer Name="Service" Extends="ServiceRoot.ServiceContainer"/></Schema></edmx:DataServices></edmx:Edmx>'
)
VERSION = "4.0"
READS = ("GET", "HEAD")


class Service:
    """Everything that one BMC answers over HTTP. `secret` makes session tokens."""

    def __init__(self, board: Board, secret: Callable[[], str]) -> None:
        self.board = board
        self.sessions = Sessions(board.accounts, secret)

    def handle(self, request: Request, now: float) -> Answer:
        """Answer one request."""
        faults = self.board.faults
        answer = misbehave.instead(request, faults, self.sessions)
        if answer is None:
            try:
                answer = self._handle(request, request.path.rstrip("/") or "/", now)
            except Refusal as refusal:
                answer = refusal.answer
        return misbehave.spoilt(_with_headers(answer), faults)

    def _handle(self, request: Request, path: str, now: float) -> Answer:
        _check(request)
        if request.method == "POST" and path in (SESSIONS, f"{SESSIONS}/Members"):
            return self._log_in(_json(request.body), now)
        if request.method in READS and path in OPEN_TO_ALL:
            return self._read(request, path, now)
        account = self.sessions.authenticate(request.headers, now)
        if account is None:
            text = "There is no valid session, and no credentials came."
            headers = {"WWW-Authenticate": 'Basic realm="BMC"'}
            raise Refusal(401, "NoValidSession", text, headers=headers)
        allowed = self._methods(path, now)
        if not allowed:
            raise _missing(path)
        if request.method not in allowed:
            text = f"{request.method[:20]} is not allowed here."
            raise Refusal(405, "OperationNotAllowed", text, headers={"Allow": ", ".join(allowed)})
        match request.method:
            case "PATCH":
                return self._patch(request, path, account, now)
            case "POST":
                return self._post(request, path, account)
            case "DELETE":
                return self._delete(path, account)
            case _:
                return self._read(request, path, now)

    def _methods(self, path: str, now: float) -> list[str]:
        """What can be done at a path; nothing where there is nothing."""
        found: list[str] = []
        parent = path.rpartition("/")[0]
        if path in OPEN_TO_ALL or self._resource(path, now) is not None:
            found += READS
            if path in tree.PATCHES or path == SESSION_SERVICE or parent == ACCOUNTS_PATH:
                found.append("PATCH")
            if parent in (SESSIONS, ACCOUNTS_PATH) or tree.delete(path, self.board) is not None:
                found.append("DELETE")
        if tree.post(path, self.board) is not None or path == SESSIONS:
            found.append("POST")
        return found

    def _resource(self, path: str, now: float) -> Body | None:
        if path == SESSION_SERVICE:
            rest = {"ServiceEnabled": True, "SessionTimeout": self.sessions.timeout_s, "Status": resources.STATUS}
            kind = "SessionService.v1_1_8.SessionService"
            return resource(path, kind, "Sessions", **rest, Sessions=resources.link(SESSIONS))
        if path == SESSIONS:
            return collection(path, "Session", [one.id for one in self.sessions.all(now)])
        if path.startswith(f"{SESSIONS}/"):
            session = self.sessions.get(path.rsplit("/", 1)[1])
            return None if session is None else self._session(session)
        return tree.render(path, self.board)

    def _session(self, session: Session) -> Body:
        owner = self.board.accounts.get(session.slot)
        name = owner.name if owner else ""
        return resource(f"{SESSIONS}/{session.id}", "Session.v1_5_0.Session", "Session", UserName=name)

    def _read(self, request: Request, path: str, now: float) -> Answer:
        if path == "/redfish":
            return Answer(200, {"v1": f"{V1}/"})
        if path == f"{V1}/odata":
            value = [{"name": "Service", "kind": "Singleton", "url": f"{V1}/"}]
            return Answer(200, {"@odata.context": f"{V1}/$metadata", "value": value})
        if path == f"{V1}/$metadata":
            return Answer(200, None, {"Content-Type": "application/xml"})
        body = self._resource(path, now)
        if body is None:
            raise _missing(path)
        tag = etag(body)
        kind = str(body["@odata.type"]).removeprefix("#").rpartition(".")[0]
        headers = {
            "ETag": tag,
            "Allow": ", ".join(self._methods(path, now)),
            "Link": f"<https://redfish.dmtf.org/schemas/v1/{kind}.json>; rel=describedby",
        }
        if request.headers.get("If-None-Match") == tag:
            return Answer(304, None, headers)
        return Answer(200, body | {"@odata.etag": tag}, headers)

    def _log_in(self, body: Body, now: float) -> Answer:
        session = self.sessions.log_in(str(body.get("UserName", "")), str(body.get("Password", "")), now)
        headers = {"Location": f"{SESSIONS}/{session.id}", "X-Auth-Token": session.token}
        return Answer(201, self._session(session), headers)

    def _patch(self, request: Request, path: str, account: Account, now: float) -> Answer:
        present = self._resource(path, now)
        if present is None:
            raise _missing(path)
        wanted = request.headers.get("If-Match", "*")
        if wanted not in ("*", etag(present)):
            raise Refusal(412, "PreconditionFailed", "The ETag does not match the resource.")
        body = _json(request.body)
        if body and all("@odata." in name for name in body):
            raise Refusal(400, "NoOperation", "There is nothing in the request that could be changed.")
        if path.startswith(f"{ACCOUNTS_PATH}/"):
            return changes.patch_account(self.board, self._account(path, account), body)
        if path == SESSION_SERVICE:
            return self._patch_sessions(account, body)
        role, change = tree.PATCHES[path]
        require(account, role)
        return change(self.board, body)

    def _patch_sessions(self, account: Account, body: Body) -> Answer:
        require(account, Role.ADMINISTRATOR)
        timeout_s = body.get("SessionTimeout")
        if not isinstance(timeout_s, int) or not 30 <= timeout_s <= 86400:
            raise Refusal(400, "PropertyValueNotInList", "SessionTimeout is a number from 30 to 86400.")
        self.sessions.timeout_s = timeout_s
        return Answer(204)

    def _account(self, path: str, asking: Account) -> Account:
        """The account at `path`; others than administrators may change only their own."""
        found = self.board.accounts.get(int(path.rsplit("/", 1)[1]))
        assert found is not None
        if found.slot != asking.slot:
            require(asking, Role.ADMINISTRATOR)
        return found

    def _post(self, request: Request, path: str, account: Account) -> Answer:
        found = tree.post(path, self.board)
        assert found is not None
        role, change = found
        require(account, role)
        return change(self.board, _body(request))

    def _delete(self, path: str, account: Account) -> Answer:
        if (found := tree.delete(path, self.board)) is not None:
            require(account, found[0])
            return found[1]()
        parent, _, member = path.rpartition("/")
        if parent == SESSIONS and self.sessions.log_out(member):
            return Answer(204)
        if parent == ACCOUNTS_PATH and resources.account(self.board, member) is not None:
            require(account, Role.ADMINISTRATOR)
            return changes.delete_account(self.board, self._account(path, account))
        raise _missing(path)


def _check(request: Request) -> None:
    """Refuse what this service does not speak (sections 6.5 and 7.3)."""
    if request.headers.get("OData-Version", VERSION) != VERSION:
        raise Refusal(412, "HeaderInvalid", f"OData-Version is {VERSION}.")
    if unknown := next((name for name in request.query if name.startswith("$")), ""):
        raise Refusal(501, "QueryNotSupported", f"The query parameter {unknown[:40]} is not supported.")


def _missing(path: str) -> Refusal:
    return Refusal(404, "ResourceMissingAtURI", f"There is no resource at {path[:200]}.")


def _body(request: Request) -> Body:
    """Read JSON, or the parts of a form: a file is its name."""
    kind = request.headers.get("Content-Type", "")
    if not kind.startswith("multipart/form-data"):
        return _json(request.body)
    form = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + request.body)
    found: Body = {}
    for part in form.walk():
        if name := part.get_param("name", header="content-disposition"):
            found[str(name)] = part.get_filename() or str(part.get_payload())
    return found


def _json(data: bytes) -> Body:
    try:
        body = json.loads(data or b"{}")
    except ValueError as error:
        raise Refusal(400, "MalformedJSON", "The request body is not JSON.") from error
    if not isinstance(body, dict):
        raise Refusal(400, "MalformedJSON", "The request body is not an object.")
    return body


def _with_headers(answer: Answer) -> Answer:
    headers = {"OData-Version": "4.0", "Cache-Control": "no-cache", "Server": "Virtual-Rack-BMC", **answer.headers}
    return replace(answer, headers=headers)
