"""A network on which one DHCP server takes the place of another: real ones, and our daemon with its command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

from tests.dhcp.wires import Wires, run


class Office:
    """A bridge with clients, and one server after the other on it. `config` is ours, with `{folder}` in it."""

    def __init__(self, it: Wires, config: str) -> None:
        self.wires = it
        self._config = config
        self.folder = it.folder
        self.server: subprocess.Popen[str] | None = None

    def start(self, *words: str, until: str) -> None:
        """Start the other server; wait for the line that says that it serves."""
        env = {**os.environ, "KEA_PIDFILE_DIR": str(self.folder), "KEA_LOCKFILE_DIR": "none"}
        self.server = subprocess.Popen(
            self.wires.inside("server", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            cwd=self.folder,
        )
        self.wires.running.append(self.server)
        said = []
        assert self.server.stdout is not None
        for line in self.server.stdout:
            said.append(line)
            if re.search(until, line):
                return
        raise AssertionError("".join(said))

    def dhcpd(self, config: str) -> tuple[str, ...]:
        """Start ISC dhcpd with this configuration; its files."""
        conf, leases = self.folder / "dhcpd.conf", self.folder / "dhcpd.leases"
        conf.write_text(config)
        leases.touch()
        self.start(
            *("dhcpd", "-6" if "subnet6" in config else "-4", "-d", "-f", "-user", "root", "-group", "root"),
            *("-cf", str(conf), "-lf", str(leases), "-pf", str(self.folder / "dhcpd.pid"), "br0"),
            until="Server starting service",
        )
        return str(conf), str(leases)

    def dnsmasq(self, *lines: str) -> tuple[str, ...]:
        """Start dnsmasq with these lines beside those that it needs; its files."""
        conf, leases = self.folder / "dnsmasq.conf", self.folder / "dnsmasq.leases"
        always = ("port=0", "interface=br0", "bind-interfaces", "no-ping", "user=root", "dhcp-authoritative")
        conf.write_text("\n".join((*always, f"dhcp-leasefile={leases}", *lines, "")))
        words = ("dnsmasq", "-k", "-C", str(conf), "--log-facility=-")
        self.start(*words, until="sockets bound|DHCP, IP range|DHCPv6, IP range")
        return str(conf), str(leases)

    def kea(self, family: int, subnet: str) -> tuple[str, ...]:
        """Start Kea with one subnet, on the lease file that is there; its files."""
        name, duid = f"kea-dhcp{family}", f'"data-directory": "{self.folder}",' if family == 6 else ""
        conf, leases = self.folder / f"{name}.conf", self.folder / f"kea-leases{family}.csv"
        conf.write_text(
            f"""// Kea's own comments
{{ "Dhcp{family}": {{
  "interfaces-config": {{ "interfaces": [ "br0" ] }}, {duid}
  "lease-database": {{ "type": "memfile", "persist": true, "name": "{leases}", "lfc-interval": 0 }},
  "valid-lifetime": 3600, # an hour
  "subnet{family}": [ {{ "id": 1, {subnet} }} ],
  "loggers": [ {{ "name": "{name}", "severity": "INFO",
    "output_options": [ {{ "output": "stdout", "flush": true }} ] }} ]
}} }}
"""
        )
        self.wires.run("server", name, "-t", str(conf))
        self.start(name, "-c", str(conf), until=f"DHCP{family}_STARTED")
        return str(conf), str(leases)

    def stop(self) -> None:
        assert self.server is not None
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(20)

    def ours(self) -> None:
        """Start our daemon."""
        config = self.folder / "provisioner.yaml"
        config.write_text(self._config.format(folder=self.folder))
        words = (sys.executable, "-m", "provisioner.entry", "--config", str(config))
        self.start(*words, until=r"daemon\.ready")

    def ctl(self, *words: str) -> str:
        """Run provisionctl; what it printed."""
        command = (sys.executable, "-m", "provisioner.cli", "--socket", str(self.folder / "api.sock"), "dhcp", *words)
        return run(*command)

    def rows(self, *words: str) -> list[dict[str, str]]:
        command = (sys.executable, "-m", "provisioner.cli", "--socket", str(self.folder / "api.sock"), "dhcp", *words)
        done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, timeout=40, check=False)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, str]] = json.loads(done.stdout)
        return found
