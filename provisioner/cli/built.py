"""Brings what was built here into the store of the daemon, for every bootenv that names it; without one it says how."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from provisioner.catalog.load import Catalog
from provisioner.cli.exits import Forbidden, Unreachable
from provisioner.cli.session import Session
from provisioner.discovery.build.cache import Built, Manifest

BUILDER = ["provisionctl", "images", "build"]


def bring(session: Session, manifest: Manifest) -> None:
    """Give the daemon what it has not yet, and say in a line what is in its store now."""
    client = session.client()
    try:
        rows = client.get("/v1/bootenvs")["bootenvs"]
    except (Unreachable, Forbidden) as error:
        if found := takers({each.name: each.built for each in Catalog.load().content.bootenvs.values()}, manifest):
            lines = [f"  provisionctl artifacts import {key} {shlex.quote(str(item.path))}" for key, item in found]
            session.note("\n".join([f"not in store yet ({error.message}):", *lines]))
        return
    found = takers({row["name"]: row["built"] for row in rows}, manifest)
    if not found:
        session.note(f"no bootenv of {client.server} boots it: nothing was imported")
        return
    there = {(row["name"], row["sha256"]) for row in client.get("/v1/artifacts")["artifacts"]}
    for key, item in found:
        if (key, item.sha256) not in there:
            query = {"sha256": item.sha256, "origin": f"images build {manifest.bootenv} {manifest.inputs}"}
            with item.path.open("rb") as content:
                client.send(f"/v1/artifacts/{key}", content, item.size_bytes, query)
    session.note(f"in the store of {client.server}: {', '.join(key for key, _ in found)}")


def takers(commands: Mapping[str, Mapping[str, str]], manifest: Manifest) -> list[tuple[str, Built]]:
    """Say as which artefacts (BOOTENV/ARCH/NAME) a build is booted; `commands` are those of each bootenv (`built`)."""
    items = {f"{manifest.arch}/{item.name}": item for item in manifest.artifacts}
    makes = [*BUILDER, manifest.bootenv]
    return [
        (f"{bootenv}/{name}", items[name])
        for bootenv, built in sorted(commands.items())
        for name, command in sorted(built.items())
        if name in items and command.split()[: len(makes)] == makes
    ]
