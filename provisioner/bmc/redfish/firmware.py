"""Firmware update by Redfish (DSP0266 section 14.6: SimpleUpdate, multipart push; DSP0268: Task)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp

from provisioner.bmc.redfish.answers import Resource
from provisioner.bmc.redfish.board import TASK_S, Board

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
        await self.finish(verb, await self.act(verb, service, "UpdateService.SimpleUpdate", body), TASK_S)

    async def push_firmware(self, file: Path) -> None:
        """Send an image in one multipart request, and wait for its task."""
        verb = "firmware.push"
        service = await self._service(verb)
        if not (target := service.text("MultipartHttpPushUri")):
            raise self.lacking(verb, "the board takes no multipart push")
        content = await asyncio.to_thread(file.open, "rb")
        try:
            form = aiohttp.FormData()
            form.add_field("UpdateParameters", json.dumps({"Targets": []}), content_type="application/json")
            form.add_field("UpdateFile", content, filename=file.name, content_type="application/octet-stream")
            reply = await self._client.send("POST", target, form, repeat=False)
        finally:
            await asyncio.to_thread(content.close)
        await self.finish(verb, reply, TASK_S)

    async def _service(self, verb: str) -> Resource:
        service = await self.child(verb, await self.root(), "UpdateService")
        if service.data.get("ServiceEnabled") is False:
            raise self.unsupported(verb, "the update service is switched off")
        return service
