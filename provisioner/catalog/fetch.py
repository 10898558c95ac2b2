"""Fetch what bootenvs need: a worker process does the work, the store takes what it has checked."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import msgspec

from provisioner.catalog.artifacts import ArtifactStore
from provisioner.catalog.download import Source
from provisioner.catalog.worker import Event, Failed, Fetched, Job, Progress
from provisioner.errors import ArtifactError, NotFoundError
from provisioner.model.artifact import Blob
from provisioner.model.catalog import Artifact, Bootenv
from provisioner.uncut import uncut

MAX_LINE = 64 * 1024

DEFAULT = Source()

Report = Callable[[Progress | Blob], None]


class Fetcher:
    """Fetches for one store, one bootenv at a time: the link to the vendor is the limit, not we."""

    def __init__(
        self,
        store: ArtifactStore,
        *,
        source: Source = DEFAULT,
        keyrings: Sequence[Path] = (),
    ) -> None:
        self._store, self._source, self._keyrings = store, source, tuple(str(folder) for folder in keyrings)
        self._turn = asyncio.Lock()

    async def fetch(
        self, bootenv: Bootenv, arch: str, report: Report, *, unverified: bool = False, again: bool = False
    ) -> list[Blob]:
        """Fetch what is missing of an architecture (`again`: all of it); return what was stored.

        Each artefact is served from the moment it is whole and checked. Cancelling keeps what was downloaded: the
        next call goes on from there. Raises `ArtifactError`.
        """
        files = bootenv.arch.get(arch)
        if files is None:
            known = ", ".join(bootenv.arch) or "none"
            raise NotFoundError(f"{bootenv.name} has nothing for {arch}", hint=f"its architectures: {known}")
        async with self._turn:
            wanted = files.artifacts if again else self._store.missing(bootenv, arch)
            fetched = [artifact for artifact in wanted if artifact.url]
            stored: list[Blob] = []
            if not fetched:
                return stored
            blobs = self._store.blobs
            await asyncio.to_thread(blobs.drop_partials, time.time())
            async with contextlib.AsyncExitStack() as stack:
                with uncut() as whole:
                    folder = await whole(asyncio.to_thread(blobs.workplace))
                    stack.push_async_callback(asyncio.to_thread, folder.cleanup)
                job = Job(str(blobs.root), folder.name, tuple(fetched), self._source, self._keyrings, unverified)
                events = await stack.enter_async_context(contextlib.aclosing(work(job)))
                async for event in events:
                    if isinstance(event, Fetched):
                        names = (bootenv.name, arch, event.name)
                        blob = await self._store.enter(names, event.sha256, event.size_bytes, event.origin)
                        stored.append(blob)
                        report(blob)
                    else:
                        report(event)
            return stored


def not_fetched(artifacts: Sequence[Artifact]) -> list[str]:
    """Say of artefacts that no URL is known for how to get them."""
    return [
        f"{artifact.name}: make it with `{artifact.build}`"
        if artifact.build
        else f"{artifact.name}: {artifact.supplied}"
        for artifact in artifacts
        if not artifact.url
    ]


async def work(job: Job) -> AsyncGenerator[Progress | Fetched, None]:
    """Run a worker and hand on its events; raise `ArtifactError` for what it could not do. Closing this kills it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "provisioner.catalog.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(job))
        process.stdin.close()
        async for line in process.stdout:
            event = msgspec.json.decode(line, type=Event)
            if isinstance(event, Failed):
                raise ArtifactError(event.message, hint=event.hint)
            yield event
        if status := await process.wait():
            raise ArtifactError(f"the fetch worker ended with status {status}", hint="the daemon's log says more")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()  # to the end of its output: a pipe that is left open outlives the loop
