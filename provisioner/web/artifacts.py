"""The operator API of artefacts and loaders: list, send, fetch, remove, check. docs/api.md is its reference."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from aiohttp import web

from provisioner.boot.files import ServedFile
from provisioner.boot.loaders import Loaders
from provisioner.catalog.artifacts import ArtifactStore, Content
from provisioner.catalog.fetch import Fetcher, not_fetched
from provisioner.catalog.worker import Progress
from provisioner.errors import ArtifactError, NotFoundError, ProvisionerError, WireError
from provisioner.fields import nearest
from provisioner.model.artifact import Blob
from provisioner.model.catalog import Bootenv
from provisioner.web import bodies
from provisioner.web.ports import Route
from provisioner.web.problems import problem_of
from provisioner.web.replies import begin
from provisioner.web.views import when

log = logging.getLogger(__name__)

BODY_LIMIT = 16 * 1024
MAX_ORIGIN = 200
QUEUED = 64
"""Events of a fetch that wait for a slow client; older progress is dropped, what was stored is not."""


class FetchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to fetch; an empty `arch` means amd64 where there is one, else all."""

    bootenv: str
    arch: str = ""
    again: bool = False
    unverified: bool = False


class InstallBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Architectures whose packages with boot loaders are downloaded first."""

    fetch: tuple[str, ...] = ()


class ArtifactApi:
    """Handlers over one store."""

    def __init__(
        self,
        store: ArtifactStore,
        fetcher: Fetcher,
        loaders: Loaders,
        *,
        bootenv: Callable[[str], Bootenv],
    ) -> None:
        self._store, self._fetcher, self.loaders = store, fetcher, loaders
        self._bootenv = bootenv

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        one = "/v1/artifacts/{bootenv}/{arch}/{name}"
        return (
            Route("GET", "/v1/artifacts", self.artifacts),
            Route("POST", "/v1/artifacts/fetch", self.fetch),
            Route("POST", "/v1/artifacts/verify", self.verify),
            Route("GET", "/v1/bundle", self.bundle, query=("bootenv", "arch"), repeated="bootenv"),
            Route("PUT", "/v1/bundle", self.put_bundle),
            Route("PUT", one, self.put, query=("origin", "sha256")),
            Route("DELETE", "/v1/artifacts/{bootenv}", self.remove),
            Route("DELETE", "/v1/artifacts/{bootenv}/{arch}", self.remove),
            Route("DELETE", one, self.remove),
            Route("GET", "/v1/loaders", self.list_loaders),
            Route("POST", "/v1/loaders/install", self.install),
        )

    async def artifacts(self, request: web.Request) -> web.Response:
        """List what is in store."""
        return _json({"artifacts": [artifact_view(blob) for blob in self._store.all()]})

    async def put(self, request: web.Request) -> web.Response:
        """Take an artefact from the body; `sha256` in the query is what it must have."""
        query = request.query
        origin = "".join(c if c.isprintable() else "?" for c in query.get("origin", "sent by an operator")[:MAX_ORIGIN])
        names = _names(request)
        _check_wanted(self._bootenv(names[0]), names[1], names[2])
        content = Content(bodies.pieces(request), request.content_length)
        try:
            blob = await self._store.receive(names, content, origin, sha256=query.get("sha256", ""))
        except ConnectionError as error:
            raise ArtifactError("the content did not arrive whole; nothing of it was kept") from error
        return _json(artifact_view(blob), 201)

    async def bundle(self, request: web.Request) -> web.StreamResponse:
        """Give artefacts of bootenvs in one file: `bootenv` once or more in the query, `arch` as for a fetch."""
        query = request.query
        chosen = [self._bootenv(name) for name in dict.fromkeys(query.getall("bootenv", []))]
        if not chosen:
            raise WireError("no bootenv was named", hint="/v1/bundle?bootenv=debian-12&bootenv=discovery")
        packing = self._store.bundle([(each, arch) for each in chosen for arch in _arches(each, query.get("arch", ""))])
        response = web.StreamResponse(headers={"Content-Type": "application/x-tar"})
        response.content_length = packing.size_bytes
        response.force_close()  # one download, and the client is gone
        if not await begin(request, response):
            return response
        try:
            async for chunk in packing.chunks():
                await response.write(chunk)
        except (ArtifactError, OSError) as error:  # what was announced cannot be sent: the client sees it end early
            log.error("artifacts.bundle %s", error)
            if request.transport is not None:
                request.transport.abort()
        return response

    async def put_bundle(self, request: web.Request) -> web.Response:
        """Take the artefacts of a bundle: all of them or none; say which of them the catalogue has no bootenv for."""
        try:
            blobs = await self._store.receive_bundle(bodies.pieces(request))
        except ConnectionError as error:
            raise ArtifactError("the bundle did not arrive whole; nothing of it was kept") from error
        return _json({"artifacts": [artifact_view(blob) for blob in blobs], "notes": self._unwanted(blobs)}, 201)

    def _unwanted(self, blobs: Sequence[Blob]) -> list[str]:
        """Say what nothing boots, and why; a catalogue that has it may come later."""
        notes: dict[str, str] = {}
        for blob in blobs:
            try:
                _check_wanted(self._bootenv(blob.bootenv), blob.arch, blob.name)
            except NotFoundError as error:
                notes.setdefault(str(error), blob.key)
        return [f"{key}: in store, but nothing boots it: {why}" for why, key in notes.items()]

    async def remove(self, request: web.Request) -> web.Response:
        """Remove an artefact, those of an architecture, or all of a bootenv; refused while a machine boots it."""
        match = request.match_info
        gone = await self._store.remove(match["bootenv"], match.get("arch", ""), match.get("name", ""))
        return _json({"removed": [artifact_view(blob) for blob in gone]})

    async def verify(self, request: web.Request) -> web.Response:
        """Read all content again; name what is damaged, which is served no more."""
        return _json({"damaged": [artifact_view(blob) for blob in await self._store.verify()]})

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """Fetch what a bootenv lacks; the answer is a line of JSON for each step, the last one says how it ended."""
        body = bodies.decode(await bodies.read_body(request, BODY_LIMIT), FetchBody)
        bootenv = self._bootenv(body.bootenv)
        arches = _arches(bootenv, body.arch)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        await response.prepare(request)
        events: asyncio.Queue[Any] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._fetch(bootenv, arches, body, events))
            try:
                while (event := await events.get()) is not None:
                    await response.write(msgspec.json.encode(event) + b"\n")
            except ConnectionError:  # nobody listens any more: what was downloaded is kept for the next call
                work.cancel()
        return response

    async def _fetch(
        self, bootenv: Bootenv, arches: Sequence[str], body: FetchBody, events: asyncio.Queue[Any]
    ) -> None:
        """Put events into the queue; None comes last."""

        def report(event: Progress | Blob) -> None:
            if isinstance(event, Blob):
                events.put_nowait({"event": "stored", **artifact_view(event)})
            elif events.qsize() < QUEUED:
                events.put_nowait({"event": "progress", "url": event.url, "done": event.done, "total": event.total})

        try:
            for arch in arches:
                settings = {"unverified": body.unverified, "again": body.again}
                await self._fetcher.fetch(bootenv, arch, report, **settings)
                for line in not_fetched(self._store.missing(bootenv, arch)):
                    events.put_nowait({"event": "note", "text": f"{bootenv.name}/{arch}/{line}"})
            events.put_nowait({"event": "done"})
        except ProvisionerError as error:
            events.put_nowait({"event": "problem", **msgspec.to_builtins(problem_of(error))})
        finally:
            events.put_nowait(None)

    async def list_loaders(self, request: web.Request) -> web.Response:
        """List the boot loaders that are served."""
        return _json({"loaders": [loader_view(file) for file in self.loaders.all()]})

    async def install(self, request: web.Request) -> web.Response:
        """Find loaders anew, with those of the packages that are to be fetched, and serve these."""
        raw = await bodies.read_body(request, BODY_LIMIT)
        body = bodies.decode(raw, InstallBody) if raw else InstallBody()
        return _json({"loaders": [loader_view(file) for file in await self.loaders.install(body.fetch)]})


def artifact_view(blob: Blob) -> dict[str, Any]:
    """An artefact as the API shows it."""
    return {
        "name": blob.key,
        "bootenv": blob.bootenv,
        "arch": blob.arch,
        "artifact": blob.name,
        "sha256": blob.sha256,
        "size_bytes": blob.size_bytes,
        "origin": blob.origin,
        "stored_at": when(blob.stored_at),
    }


def loader_view(file: ServedFile) -> dict[str, Any]:
    """A loader as the API shows it."""
    return {"name": file.name, "sha256": file.sha256, "size_bytes": file.size_bytes, "origin": file.origin}


def _arches(bootenv: Bootenv, wanted: str) -> Sequence[str]:
    if wanted == "all" or (not wanted and "amd64" not in bootenv.arch):
        return tuple(bootenv.arch)
    if wanted and wanted not in bootenv.arch:
        raise _nothing_for(bootenv, wanted)
    return (wanted or "amd64",)


def _nothing_for(bootenv: Bootenv, arch: str) -> NotFoundError:
    known = ", ".join(bootenv.arch) or "none"
    return NotFoundError(f"{bootenv.name} has nothing for {arch[:40]}", hint=f"its architectures: {known}")


def _check_wanted(bootenv: Bootenv, arch: str, name: str) -> None:
    """Raise `NotFoundError` where a bootenv has no such artefact: what nobody boots is a name that was mistyped."""
    if arch not in bootenv.arch:
        raise _nothing_for(bootenv, arch)
    known = [artifact.name for artifact in bootenv.arch[arch].artifacts]
    if name not in known:
        raise NotFoundError(f"{bootenv.name} has no artefact {name[:80]!r} for {arch}{nearest(name, known)}")


def _names(request: web.Request) -> tuple[str, str, str]:
    match = request.match_info
    return match["bootenv"], match["arch"], match["name"]


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
