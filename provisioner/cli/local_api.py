"""The API of artefacts and loaders over a state directory. Imported only where no daemon runs."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from provisioner.boot.files import FileTable
from provisioner.catalog.artifacts import ArtifactStore
from provisioner.catalog.load import Catalog
from provisioner.config import Config
from provisioner.store.artifacts import ArtifactIndex
from provisioner.store.db import Database
from provisioner.web.app import operator_app
from provisioner.web.server import MAX_QUERY_BYTES, Server
from provisioner.wiring import artifact_api


async def start(stack: contextlib.AsyncExitStack, config: Config, socket: Path) -> None:
    """Open the state directory and serve it on `socket`, until `stack` is closed."""
    catalog = await asyncio.to_thread(Catalog.load, [Path(path) for path in config.catalogue.paths])
    store = await store_of(stack, config)
    api = artifact_api(config, store, FileTable(), catalog.bootenv, lambda: ())
    await api.loaders.install()
    server = Server(operator_app(api.routes()), line_bytes=MAX_QUERY_BYTES)
    stack.push_async_callback(server.close)
    await server.listen_unix(socket)


async def store_of(stack: contextlib.AsyncExitStack, config: Config) -> ArtifactStore:
    """Open the artefact store of a state directory, until `stack` is closed."""
    db = Database(config.database)
    await db.open()
    stack.push_async_callback(db.close)
    store = ArtifactStore(config.state_dir / "artifacts", ArtifactIndex(db))
    await store.open()
    return store
