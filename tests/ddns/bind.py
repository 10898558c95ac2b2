"""A real BIND as a child of the test, on a loopback port or in a namespace."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from provisioner.lab.process import wait_until
from tests.ports import free_port

SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0IHRoYXQgaXMgbG9uZw=="
KEY = f'key "provisioner" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n'
ZONE = "$TTL 60\n@ SOA ns root 1 60 60 60 60\n  NS ns\nns A 127.0.0.1\n"
POINTERS = "$TTL 60\n@ SOA ns.rack.example. root.rack.example. 1 60 60 60 60\n  NS ns.rack.example.\n"
ZONES = {
    "rack.example": ZONE + "www A 10.0.0.1\n",
    "closed.example": ZONE,
    "0.0.10.in-addr.arpa": POINTERS,
    "0.0.0.0.0.0.d.f.ip6.arpa": POINTERS,
}

LIMIT_S = 60.0


class Bind:
    """One server; it keeps its zones in `folder` from one start to the next."""

    def __init__(self, folder: Path, port: int = 0, address: str = "127.0.0.1", prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.address = address
        self.port = port or free_port(socket.SOCK_DGRAM, socket.SOCK_STREAM)
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for zone, text in ZONES.items():
            (folder / zone).write_text(text)
        (folder / "named.conf").write_text(self._config())

    def _config(self) -> str:
        zones = "".join(
            f'zone "{zone}" {{ type primary; file "{zone}"; allow-update {{ {who} }}; }};\n'
            for zone, who in ((zone, "none;" if zone == "closed.example" else "key provisioner;") for zone in ZONES)
        )
        return f"""{KEY}
options {{ directory "{self.folder}"; pid-file none; session-keyfile none; listen-on-v6 {{ none; }};
  listen-on port {self.port} {{ {self.address}; }}; recursion no; dnssec-validation no; notify no; }};
controls {{ }};
logging {{ channel out {{ stderr; severity info; }}; category default {{ out; }}; }};
{zones}"""

    def start(self) -> None:
        command = [*self._prefix, "named", "-f", "-g", "-c", str(self.folder / "named.conf")]
        said = self.folder / "named.log"
        with said.open("wb") as log:
            self._process = process = subprocess.Popen(command, stderr=log, cwd=self.folder)

        def runs() -> bool:
            return any(line.endswith(" running") for line in said.read_text().splitlines())

        assert wait_until(lambda: runs() or process.poll() is not None, LIMIT_S), said.read_text()
        assert runs(), said.read_text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(LIMIT_S)
            self._process = None

    def ask(self, name: str, kind: str) -> list[str]:
        """What the server says of a name."""
        query = dns.message.make_query(name, kind)
        answer = dns.query.udp(query, self.address, 5, self.port)
        assert answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
        wanted = dns.rdatatype.from_text(kind)
        return sorted(str(each) for rrset in answer.answer if rrset.rdtype == wanted for each in rrset)

    def records(self, name: str) -> Mapping[str, list[str]]:
        """All that there is of a name, but for the DHCID."""
        found = {kind: self.ask(name, kind) for kind in ("A", "AAAA", "PTR")}
        return {kind: values for kind, values in found.items() if values}
