"""Firmware update by Redfish (DSP0266 section 14.6: SimpleUpdate, multipart push; DSP0268: Task)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp

from provisioner.bmc.redfish.answers import Reply, Resource
from provisioner.bmc.redfish.board import Board, TaskLost
from provisioner.errors import BmcError

PROTOCOLS = {"http": "HTTP", "https": "HTTPS", "tftp": "TFTP", "nfs": "NFS", "ftp": "FTP", "sftp": "SFTP"}


class FirmwareVerbs(Board):
    """Have the BMC replace firmware, and wait for its task."""

    async def update_firmware(self, uri: str) -> None:
        """Have the BMC fetch and install an image."""
        verb = "firmware.update"
        service = await self._service(verb)
        protocol = PROTOCOLS.get(uri.partition(":")[0].lower(), "")
        offered = await self.allowed(service, "UpdateService.SimpleUpdate", "TransferProtocol")
        if not protocol or (offered and protocol not in offered):
            raise self.unsupported(verb, f"the board fetches by {', '.join(offered) or 'no such protocol'}, not {uri}")
        body = {"ImageURI": uri, "TransferProtocol": protocol}
        before = await self._versions(service)
        reply = await self.act(verb, service, "UpdateService.SimpleUpdate", body)
        await self._finish_update(verb, reply, service, before)

    async def push_firmware(self, file: Path) -> None:
        """Send an image in one multipart request, and wait for its task."""
        verb = "firmware.push"
        service = await self._service(verb)
        if not (target := service.text("MultipartHttpPushUri")):
            raise self.lacking(verb, "the board takes no multipart push")
        before = await self._versions(service)
        content = await asyncio.to_thread(file.open, "rb")
        try:
            form = aiohttp.FormData()
            form.add_field("UpdateParameters", json.dumps({"Targets": []}), content_type="application/json")
            form.add_field("UpdateFile", content, filename=file.name, content_type="application/octet-stream")
            reply = await self._client.send("POST", target, form, repeat=False)
        finally:
            await asyncio.to_thread(content.close)
        await self._finish_update(verb, reply, service, before)

    async def _finish_update(self, verb: str, reply: Reply, service: Resource, before: dict[str, str] | None) -> None:
        """Wait for the task. A BMC that restarts into what it installed may have lost it: then the versions tell."""
        try:
            await self.finish(verb, reply)
        except TaskLost:
            after = await self._versions(service)
            if before is None or after is None or not after.items() - before.items():
                raise

    async def _versions(self, service: Resource) -> dict[str, str] | None:
        """Read the version of each firmware; None where that cannot be done, which keeps nobody from installing."""
        path = service.link("FirmwareInventory")
        try:
            return {one.path: one.text("Version") for one in await self.each(path)} if path else {}
        except BmcError:
            return None

    async def _service(self, verb: str) -> Resource:
        service = await self.child(verb, await self.root(), "UpdateService")
        if service.data.get("ServiceEnabled") is False:
            raise self.unsupported(verb, "the update service is switched off")
        return service
