"""A small Redfish service that does as it is told, on loopback with TLS: one machine, faults scripted per request."""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from provisioner.bmc.redfish.way import fingerprint
from provisioner.model.bmc import BmcAddress, Driver
from tests.bmc.peers import write_certificate

SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
SESSIONS = "/redfish/v1/SessionService/Sessions"
USER, PASSWORD = "admin", "correct horse"

Script = Callable[[web.Request], Awaitable[web.StreamResponse]]
Action = Callable[[Any], web.Response | None]


def boot(**changes: Any) -> dict[str, Any]:
    """Return a Boot object as a board has it that is not told anything."""
    return {
        "BootSourceOverrideEnabled": "Disabled",
        "BootSourceOverrideTarget": "None",
        "BootSourceOverrideMode": "UEFI",
        "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Hdd", "Cd", "BiosSetup", "UefiHttp"],
        "HttpBootUri": None,
    } | changes


@dataclass
class Service:
    """The service's state, and what it was asked. `scripts` answer the next request to a path instead of it."""

    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    max_sessions: int = 8
    logins: int = 0
    has_sessions: bool = True
    asked: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    scripts: dict[str, list[Script]] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    """What a POST or DELETE to a path does: gets the body, returns an answer or None for 204."""
    passwords: dict[str, str] = field(default_factory=lambda: {USER: PASSWORD})
    versions: dict[str, int] = field(default_factory=dict)
    address: BmcAddress = field(default_factory=lambda: BmcAddress(Driver.REDFISH, "127.0.0.1", 0, USER))

    def __post_init__(self) -> None:
        self.resources = {
            "/redfish/v1/": {"Systems": {"@odata.id": "/redfish/v1/Systems"}},
            "/redfish/v1/Systems": {"Members": [{"@odata.id": SYSTEM}]},
            "/redfish/v1/Managers/1": {"FirmwareVersion": "7.1"},
            SYSTEM: {
                "@odata.id": SYSTEM,
                "UUID": "4C4C4544-0042-3310-8052-B7C04F4D3132",
                "Manufacturer": "Acme",
                "Model": "A1",
                "SerialNumber": "S1",
                "PowerState": "Off",
                "Links": {"ManagedBy": [{"@odata.id": "/redfish/v1/Managers/1"}]},
                "Boot": boot(),
                "Actions": {
                    "#ComputerSystem.Reset": {
                        "target": RESET,
                        "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart", "GracefulShutdown"],
                    }
                },
            },
        } | self.resources

    @property
    def system(self) -> dict[str, Any]:
        """The machine."""
        return self.resources[SYSTEM]

    def next(self, method_and_path: str, *scripts: Script) -> None:
        """Answer the next requests of this kind ("GET /redfish/v1/") by script, in order."""
        self.scripts.setdefault(method_and_path, []).extend(scripts)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request: by script, or as a well-behaved service."""
        asked = f"{request.method} {request.path}"
        self.asked.append(asked)
        self.headers.append(dict(request.headers))
        if scripted := self.scripts.get(asked):
            return await scripted.pop(0)(request)
        if request.path == SESSIONS and request.method == "POST":
            return await self._log_in(request)
        if not self._knows(request):
            return problem(401, "Base.1.8.NoValidSession", "There is no valid session.")
        return await self._serve(request)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        if not self.has_sessions:
            return problem(404, "Base.1.8.ResourceMissingAtURI", "Nothing here.")
        body = await request.json()
        if self.passwords.get(body["UserName"]) != body["Password"]:
            return problem(401, "Base.1.8.ResourceAtUriUnauthorized", f"The password {body['Password']} is wrong.")
        if len(self.sessions) >= self.max_sessions:
            return problem(503, "Base.1.8.CreateLimitReachedForResource", "Too many sessions.")
        self.logins += 1
        number = f"s{self.logins}"
        self.sessions[number] = f"token{number}"
        self.resources[f"{SESSIONS}/{number}"] = {"UserName": body["UserName"]}
        return web.json_response(
            {}, status=201, headers={"X-Auth-Token": f"token{number}", "Location": f"{SESSIONS}/{number}"}
        )

    def _knows(self, request: web.Request) -> bool:
        return (
            request.headers.get("X-Auth-Token") in self.sessions.values()
            or request.headers.get("Authorization") == f"Basic {_basic()}"
        )

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        listed = {"Members": [{"@odata.id": f"{SESSIONS}/{number}"} for number in self.sessions]}
        match request.method:
            case "DELETE" if path.startswith(SESSIONS):
                self.sessions.pop(path.rsplit("/", 1)[-1], None)
                return web.Response(status=204)
            case "GET" if path == SESSIONS or path in self.resources:
                body = listed if path == SESSIONS else self.resources[path]
                return web.json_response(body, headers={"ETag": self._etag(path)})
            case "PATCH" if path in self.resources:
                return await self._patch(request)
            case "POST" if path == RESET:
                return await self._reset(request)
            case "POST" | "DELETE" if path in self.actions:
                return await self._act(request)
            case _:
                return problem(404, "Base.1.8.ResourceMissingAtURI", "Nothing here.")

    def _etag(self, path: str) -> str:
        return f'W/"{self.versions.get(path, 0)}"'

    async def _patch(self, request: web.Request) -> web.StreamResponse:
        tag = request.headers.get("If-Match", self._etag(request.path))
        if tag.removeprefix("W/") != self._etag(request.path).removeprefix("W/"):
            return problem(412, "Base.1.8.PreconditionFailed", "The ETag does not match.")
        body = await request.json()
        self.bodies.append(body)
        for key, value in body.items():
            held = self.resources[request.path].get(key)
            self.resources[request.path][key] = held | value if isinstance(held, dict) else value
        self.versions[request.path] = self.versions.get(request.path, 0) + 1
        return web.Response(status=204)

    async def _act(self, request: web.Request) -> web.StreamResponse:
        content_type = request.content_type
        body = await request.json() if request.can_read_body and content_type == "application/json" else None
        if content_type == "multipart/form-data":
            body = {name: _text(part) for name, part in (await request.post()).items()}
        self.bodies.append(body)
        return self.actions[request.path](body) or web.Response(status=204)

    async def _reset(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        state = {"On": "On", "ForceOn": "On", "ForceOff": "Off", "GracefulShutdown": "Off"}.get(body["ResetType"])
        if state:
            self.system["PowerState"] = state
        return web.Response(status=204)


def _text(part: Any) -> str:
    return part.file.read().decode() if hasattr(part, "file") else bytes(part).decode()


def _basic() -> str:
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def problem(status: int, message_id: str, message: str, **headers: str) -> web.Response:
    """Answer with an error body as DSP0266 section 9.8 has it."""
    info = [{"MessageId": message_id, "Message": message}]
    body = {"error": {"code": message_id, "message": "see below", "@Message.ExtendedInfo": info}}
    return web.json_response(body, status=status, headers=spelt(headers))


def spelt(headers: dict[str, str]) -> dict[str, str]:
    """Spell header names as HTTP does: Retry_After is Retry-After."""
    return {name.replace("_", "-"): text for name, text in headers.items()}


def says(status: int = 200, body: bytes = b"", **headers: str) -> Script:
    """Make a script that answers with these bytes."""

    async def script(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=spelt(headers))

    return script


def complains(
    status: int, message_id: str = "Base.1.8.GeneralError", message: str = "It failed.", **headers: str
) -> Script:
    """Make a script that answers with an error body."""

    async def script(_request: web.Request) -> web.StreamResponse:
        return problem(status, message_id, message, **headers)

    return script


def does_then(service: Service, end: Script) -> Script:
    """Make a script that does what was asked, and then answers as `end` does."""

    async def script(request: web.Request) -> web.StreamResponse:
        await service._serve(request)
        return await end(request)

    return script


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Close the connection without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def breaks_off(request: web.Request) -> web.StreamResponse:
    """Promise a hundred bytes, send ten, close."""
    response = web.StreamResponse(headers={"Content-Length": "100", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"PowerSta')
    assert request.transport is not None
    request.transport.close()
    return response


@contextlib.asynccontextmanager
async def serve(service: Service, root: Path) -> AsyncIterator[BmcAddress]:
    """Serve on a free loopback port; yield the address with its certificate pinned."""
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    certificate, key = write_certificate(root)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    plain = BmcAddress(Driver.REDFISH, "127.0.0.1", port, USER)
    service.address = replace(plain, fingerprint=await fingerprint(plain))
    try:
        yield service.address
    finally:
        await runner.cleanup()
