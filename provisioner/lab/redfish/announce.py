"""How a Redfish service answers a search of SSDP (DSP0266 section 12.4; UDA 1.1 section 1.3). No I/O."""

from __future__ import annotations

TARGET = "urn:dmtf-org:service:redfish-rest:1"
ASKED = frozenset({TARGET, "ssdp:all", "upnp:rootdevice"})
GROUP, PORT = "239.255.255.250", 1900
MAX_SEARCH = 2048


def answer(search: bytes, uuid: str, url: str) -> bytes:
    """Answer a search for services like this one; nothing where it is for others, or no search at all."""
    first, *lines = search[:MAX_SEARCH].decode("latin-1").split("\r\n")
    fields = {name.strip().upper(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not first.startswith("M-SEARCH * HTTP/1.") or fields.get("MAN", "") != '"ssdp:discover"':
        return b""
    asked = fields.get("ST", "")
    if asked not in ASKED and not asked.startswith(f"{TARGET}:"):
        return b""
    said = (
        "HTTP/1.1 200 OK",
        "CACHE-CONTROL:max-age=1800",
        f"ST:{TARGET}:15",
        f"USN:uuid:{uuid}::{TARGET}:15",
        f"AL:{url}",
        "EXT:",
    )
    return ("\r\n".join(said) + "\r\n\r\n").encode()
