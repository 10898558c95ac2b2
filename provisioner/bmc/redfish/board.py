"""One machine at a Redfish service: where its resources are, how they are changed, how tasks end. For all verbs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from provisioner.bmc.ensure import PATIENCE, Patience
from provisioner.bmc.hostkeys import HostKeys
from provisioner.bmc.quirks import PLAIN, Quirk, Quirks, quirks_of
from provisioner.bmc.redfish.answers import Reply, Resource
from provisioner.bmc.redfish.client import ROOT, RedfishClient
from provisioner.bmc.redfish.task import Stage, progress, starts_task, task_path
from provisioner.bmc.table import VERBS
from provisioner.errors import (
    BmcBusy,
    BmcError,
    BmcLacking,
    BmcProtocolError,
    BmcTimeout,
    BmcUnreachable,
    BmcUnsupported,
    BmcWrongState,
)
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver

MAX_412 = 3
FRESH_S = 1.0
"""A system that was read so long ago need not be read again for what it offers: on slow boards that takes 30 s."""
MAX_MEMBERS = 256
"""Members of one collection that are read; the largest seen is 192 sensors."""
MAX_PAGES = 512
"""Of a log with 4096 entries, ten or more on a page."""

TASK_POLLS_S = (0.5, 1.0, 2.0, 5.0)
"""Pauses between looks at a task; the last one repeats."""

Installed = Callable[[str], Awaitable[None]]
"""Is told of a certificate that the board was given and shows, by its SHA-256."""


class TaskLost(BmcTimeout):
    """The board has begun, and knows nothing of it any more."""


class Board:
    """The resources of one machine. What a board does not have is `BmcUnsupported`, with the verb's name."""

    def __init__(
        self,
        client: RedfishClient,
        *,
        quirks: Sequence[Quirk] = (),
        patience: Patience = PATIENCE,
        host_keys: HostKeys | None = None,
        installed: Installed | None = None,
    ) -> None:
        self._client = client
        self._installed = installed
        self.host_keys = HostKeys() if host_keys is None else host_keys
        self._patience = patience
        self._table = quirks
        self._known: Quirks | None = None
        self._paths: dict[str, str] = {}
        self._read_last: tuple[float, Resource] | None = None
        """Our ComputerSystem, and when it was read, on the loop's clock."""
        self.pressed_at: float | None = None

    @property
    def address(self) -> BmcAddress:
        """Say which BMC this is."""
        return self._client.address

    def unsupported(self, verb: str, why: str) -> BmcUnsupported:
        """Make the error for what the board cannot do."""
        return BmcUnsupported(f"{self.address}: {verb}: {why}", hint="nothing was done")

    def lacking(self, verb: str, why: str) -> BmcLacking:
        """Make the error for what the board says itself that it does not have."""
        return BmcLacking(f"{self.address}: {verb}: {why}", hint="nothing was done")

    # -- where things are -----------------------------------------------------------------------------------------

    async def get(self, path: str) -> Resource:
        """Read a resource."""
        return await self._client.get(path)

    async def root(self) -> Resource:
        """Read the service root."""
        return await self.get(ROOT)

    async def system(self) -> Resource:
        """Read our ComputerSystem; find it first when it is not known yet."""
        if "system" not in self._paths:
            self._paths["system"] = await self._find_system()
        system = await self.get(self._paths["system"])
        self._read_last = asyncio.get_running_loop().time(), system
        return system

    async def lately(self) -> Resource:
        """Return our ComputerSystem as it was read a moment ago, or read it: for what it offers, not how it stands."""
        if self._read_last and asyncio.get_running_loop().time() - self._read_last[0] <= FRESH_S:
            return self._read_last[1]
        return await self.system()

    async def _find_system(self) -> str:
        """Return the path of the system that the address names, or of the only one."""
        root = await self.root()
        paths = (await self.get(root.link("Systems") or ROOT + "Systems")).members()
        if not self.address.system:
            if len(paths) == 1:
                return paths[0]
            names = ", ".join(last(path) for path in paths[:8]) or "none"
            raise BmcUnsupported(
                f"{self.address}: the service has {len(paths)} systems: {names}",
                hint=f"name one in the address: redfish://{self.address.username}@{self.address.host}/ID",
            )
        for path in paths:
            if last(path) == self.address.system:
                return path
        raise BmcUnsupported(f"{self.address}: the service has no system {self.address.system!r}")

    async def manager(self, verb: str) -> Resource:
        """Read the manager of our system."""
        return await self._linked(verb, "manager", "ManagedBy", "Managers")

    async def chassis(self, verb: str) -> Resource:
        """Read the chassis that our system is in."""
        return await self._linked(verb, "chassis", "Chassis", "Chassis")

    async def _linked(self, verb: str, name: str, key: str, collection: str) -> Resource:
        """Read what the system links to; else the only member of the service's collection."""
        if name not in self._paths:
            paths = Resource("", (await self.system()).table("Links")).members(key)
            if not paths and (listed := (await self.root()).link(collection)):
                paths = (await self.get(listed)).members()
                paths = paths if len(paths) == 1 else ()
            if not paths:
                raise self.unsupported(verb, f"the system names no {name}")
            self._paths[name] = paths[0]
        return await self.get(self._paths[name])

    async def child(self, verb: str, parent: Resource, *keys: str) -> Resource:
        """Read the resource that a link of `parent` points to."""
        if not (path := parent.link(*keys)):
            raise self.lacking(verb, f"{parent.path} has no {'.'.join(keys)}")
        return await self.get(path)

    async def each(self, collection: str) -> list[Resource]:
        """Read the members of a collection, one after the other. One that cannot be read is left out."""
        return await self.in_full(await self.listed(collection, MAX_MEMBERS))

    async def every(self, collection: str) -> list[Resource]:
        """Read the members of a collection. One that cannot be read is an error: what it holds is to be protected."""
        listed = await self.listed(collection, MAX_MEMBERS)
        return [one if one.data else await self.get(one.path) for one in listed]

    async def listed(self, collection: str, most: int) -> list[Resource]:
        """List the members of a collection, of all its pages: in full where a page gives them so, else their paths."""
        found: list[Resource] = []
        pages: set[str] = set()
        page = collection
        while page and page not in pages and len(pages) < MAX_PAGES and len(found) < most:
            pages.add(page)
            listed = await self.get(page)
            for path, data in zip(listed.members(), listed.data.get("Members") or (), strict=False):
                found.append(Resource(path, data if isinstance(data, dict) and len(data) > 1 else {}))
            page = listed.text("Members@odata.nextLink")
        return found[:most]

    async def in_full(self, listed: Iterable[Resource]) -> list[Resource]:
        """Read those of which only the path is known, one after the other. One that cannot be read is left out."""
        return [found for one in listed for found in ([one] if one.data else await self._readable(one.path))]

    async def _readable(self, path: str) -> list[Resource]:
        try:
            return [await self.get(path)]
        except (BmcUnsupported, BmcProtocolError):
            return []

    # -- what the board is like -----------------------------------------------------------------------------------

    async def whose(self) -> BmcIdentity:
        """Read UUID and serial number of the system."""
        system = await self.system()
        return BmcIdentity(uuid=system.text("UUID").lower(), serial=system.text("SerialNumber"))

    async def identify(self) -> BmcIdentity:
        """Read the system's identity and the BMC's firmware version."""
        system = await self.system()
        try:
            firmware = (await self.manager("identify")).text("FirmwareVersion")
        except BmcUnsupported:
            firmware = ""
        return BmcIdentity(
            uuid=system.text("UUID").lower(),
            vendor=system.text("Manufacturer"),
            model=system.text("Model"),
            serial=system.text("SerialNumber"),
            firmware=firmware,
        )

    async def quirks(self) -> Quirks:
        """Say how this board differs; asked once."""
        if self._known is None:
            self._known = quirks_of(self._table, Driver.REDFISH, await self.identify()) if self._table else PLAIN
        return self._known

    async def patience(self) -> Patience:
        """Say how long this board is waited for."""
        return replace(self._patience, distrust_s=(await self.quirks()).distrust_power_s)

    # -- how things are changed -----------------------------------------------------------------------------------

    async def patch(self, resource: Resource, body: Mapping[str, Any]) -> Reply:
        """Change a resource as it is now: If-Match with its version; read again when somebody was faster (412)."""
        self._read_last = None  # what it holds is another one now
        etag = resource.etag
        for attempt in range(MAX_412):
            headers = {"If-Match": etag} if etag else {}
            try:
                return await self._client.send("PATCH", resource.path, body, headers=headers)
            except BmcWrongState as error:
                if attempt == MAX_412 - 1 or not ("HTTP 412" in error.message or "HTTP 428" in error.message):
                    raise
            etag = (await self.get(resource.path)).etag
            if attempt:  # some boards compare their own weak tags strongly: give them the tag without its mark
                etag = etag.removeprefix("W/")
        raise AssertionError("the last turn returns or raises")

    async def act(
        self, verb: str, resource: Resource, action: str, body: Mapping[str, Any] | None = None, *, repeat: bool = False
    ) -> Reply:
        """Run an action of a resource, such as "VirtualMedia.InsertMedia"."""
        target = resource.text("Actions", f"#{action}", "target")
        if not target:
            raise self.lacking(verb, f"{resource.path} has no action {action}")
        return await self._client.send("POST", target, body or {}, repeat=repeat)

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Make a new member of a collection. Sent once: a lost answer is `BmcTimeout`."""
        return await self._client.send("POST", path, body, repeat=False)

    async def delete(self, path: str) -> Reply:
        """Delete a resource. Gone already is success."""
        try:
            return await self._client.send("DELETE", path)
        except BmcUnsupported as error:
            if not ("HTTP 404" in error.message or "HTTP 410" in error.message):
                raise
            return Reply(path, 204)

    async def allowed(self, resource: Resource, action: str, parameter: str) -> tuple[str, ...]:
        """Return the values that the board says an action takes; nothing where it does not say."""
        where = "Actions", f"#{action}"
        if offered := resource.texts(*where, f"{parameter}@Redfish.AllowableValues"):
            return offered
        if not (info := resource.text(*where, "@Redfish.ActionInfo")):
            return ()
        for known in (await self.get(info)).rows("Parameters"):
            if known.text("Name") == parameter:
                return known.texts("AllowableValues")
        return ()

    async def settings_of(self, resource: Resource, key: str) -> Resource:
        """Return the resource where `key` is written: the settings object where that has it, else `resource`."""
        if path := resource.link("@Redfish.Settings", "SettingsObject"):
            settings = await self.get(path)
            if key in settings.data:
                return settings
        return resource

    # -- how long things take -------------------------------------------------------------------------------------

    async def finish(self, verb: str, reply: Reply, limit_s: float | None = None) -> None:
        """Wait for the task that an answer started, if it did, as long as the verb has.

        Raises what the board says where the task failed, `TaskLost` where the board knows nothing of it any more.
        """
        if not starts_task(reply):
            return
        limit_s = VERBS[verb].end_s if limit_s is None else limit_s
        clock = asyncio.get_running_loop().time
        deadline = clock() + limit_s
        path = task_path(reply)
        if not path:
            raise BmcProtocolError(f"{self.address}: {verb}: HTTP {reply.status} names no task")
        words = "silent"
        pauses = iter(TASK_POLLS_S)
        while clock() < deadline:
            await asyncio.sleep(next(pauses, TASK_POLLS_S[-1]))
            try:
                now = progress(await self._client.look(path))
            except (BmcUnreachable, BmcBusy, BmcProtocolError):  # it restarts: its port is up before its TLS is
                continue
            words = now.words
            match now.stage:
                case Stage.DONE:
                    return
                case Stage.FAILED:
                    raise BmcError(f"{self.address}: {verb}: the task ended as {words}")
                case Stage.LOST:
                    raise TaskLost(
                        f"{self.address}: {verb}: the BMC knows nothing of task {path} any more ({words}): "
                        "it may have been done, and nobody confirms it",
                        hint="the BMC may have restarted: look at the state, and at its event log",
                    )
        raise BmcTimeout(
            f"{self.address}: {verb}: task {path} is still {words} after {limit_s:.0f} s",
            hint="look at the BMC's own task list",
        )

    async def finish_unseen(self, verb: str, reply: Reply, limit_s: float | None = None) -> None:
        """Wait for a task whose end the caller reads back itself: one that the board has lost is over."""
        with contextlib.suppress(TaskLost):
            await self.finish(verb, reply, limit_s)

    async def until(self, verb: str, question: Any, limit_s: float, what: str) -> None:
        """Ask until the answer is yes; raise `BmcTimeout` saying `what` did not come."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + limit_s
        pause = 0.5
        while not await question():
            if clock() >= deadline:
                raise BmcTimeout(f"{self.address}: {verb}: the BMC took it, but {what} within {limit_s:.0f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 5.0)


def last(path: str) -> str:
    """Return the last part of a path: a resource's id."""
    return path.rstrip("/").rsplit("/", 1)[-1]
