"""Network namespaces with a bridge in each and cables between them, for real clients, relays and servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path

from provisioner.lab.process import wait_until
from tests.spaces import fresh

ROOT = Path(__file__).parents[2]
CLIENT_LIMIT_S = 60


def run(*words: str, env: Mapping[str, str] | None = None, timeout_s: float = CLIENT_LIMIT_S) -> str:
    """Run a command to its end; give its output, raise with it where it fails."""
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def end_daemon(pid: Path) -> None:
    """End the daemon that writes its number into this file, which it does some time after its parent has gone."""
    assert wait_until(lambda: pid.exists() and pid.read_text().strip() != "", CLIENT_LIMIT_S), f"nothing in {pid}"
    os.kill(int(pid.read_text()), signal.SIGKILL)
    pid.unlink()


@dataclass
class Wires:
    """Namespaces of one test; everything in them ends with it."""

    folder: Path
    names: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Make a namespace."""
        real = fresh("dhcpt")
        run("ip", "netns", "add", real)
        self.names[name] = real
        run("ip", "-n", real, "link", "set", "lo", "up")

    def cable(self, one: str, port: str, other: str, other_port: str) -> None:
        """Join two namespaces."""
        peer = ("peer", "name", other_port, "netns", self.names[other])
        run("ip", "link", "add", port, "netns", self.names[one], "type", "veth", *peer)
        self.ip(one, "link", "set", port, "up")
        self.ip(other, "link", "set", other_port, "up")

    def bridge(self, name: str, address: str, ports: Mapping[str, str]) -> None:
        """Make br0 in a namespace, with this address, and a cable to `eth0` of each client (port: client)."""
        self.ip(name, "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
        self.ip(name, "addr", "add", address, "dev", "br0")
        self.ip(name, "link", "set", "br0", "up")
        for port, client in ports.items():
            self.add(client)
            self.cable(name, port, client, "eth0")
            self.ip(name, "link", "set", port, "master", "br0")

    def ip(self, name: str, *words: str) -> str:
        """Run ip(8) in a namespace."""
        return run("ip", "-n", self.names[name], *words)

    def inside(self, name: str, *words: str) -> list[str]:
        """The command, in a namespace."""
        return ["ip", "netns", "exec", self.names[name], *words]

    def run(self, name: str, *words: str, timeout_s: float = CLIENT_LIMIT_S) -> str:
        """Run a command in a namespace to its end."""
        return run(*self.inside(name, *words), timeout_s=timeout_s)

    def start(self, name: str, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a program in a namespace; it is ended with the test."""
        with (self.folder / f"{Path(words[0]).name}.log").open("a") as log:
            process = subprocess.Popen(
                self.inside(name, *words), cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, env=env
            )
        self.running.append(process)
        return process

    def until_bound(self, name: str, port: int) -> None:
        """Wait until somebody in a namespace listens on this UDP port."""
        assert wait_until(lambda: self.run(name, "ss", "-Hlun", f"sport = :{port}") != "", CLIENT_LIMIT_S), port

    def serve(self, name: str, config: str) -> Server:
        """Start our server with this configuration."""
        file = self.folder / "dhcp.yaml"
        file.write_text(config)
        process = self.start(name, sys.executable, "-m", "tests.dhcp.serve", str(file), str(self.folder))
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", (self.folder / f"{Path(sys.executable).name}.log").read_text()
        return Server(process, self.folder)

    def until_address(self, name: str, address: str) -> None:
        """Wait until a client has configured this address."""
        assert wait_until(lambda: address in self.ip(name, "-4", "addr", "show"), CLIENT_LIMIT_S), address

    def close(self) -> None:
        """End everything."""
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for real in self.names.values():
            for pid in run("ip", "netns", "pids", real).split():
                with suppress(ProcessLookupError):  # children of what was ended end by themselves
                    os.kill(int(pid), signal.SIGKILL)
            run("ip", "netns", "del", real)


@dataclass
class Server:
    """Our server, as a process."""

    process: subprocess.Popen[str]
    folder: Path

    def trace(self) -> list[tuple[str, str, str]]:
        """What it said so far: event, hardware address, text."""
        return [tuple(json.loads(line)) for line in (self.folder / "trace").read_text().splitlines()]

    def events(self) -> list[str]:
        """The events alone."""
        return [event for event, _, _ in self.trace()]

    def until(self, event: str, times: int = 1) -> str:
        """Wait until an event was told so often; its text. One that asks all the time is told of late."""
        follow = subprocess.Popen(
            ["tail", "-n", "+1", "-f", str(self.folder / "trace")], stdout=subprocess.PIPE, text=True
        )
        assert follow.stdout is not None
        try:
            told = (text for seen, _, text in map(json.loads, follow.stdout) if seen == event)
            return next(islice(told, times - 1, None))
        finally:
            follow.kill()
            follow.wait()
            follow.stdout.close()

    def until_only(self, *events: str) -> None:
        """Wait until it has told just these, in this order: a client may be done before its answer is told."""
        assert wait_until(lambda: self.events() == list(events), CLIENT_LIMIT_S), self.events()

    def until_only_repeated(self, *events: str) -> None:
        """The same where a client repeats what it asks when it likes, and is answered each time."""
        assert wait_until(lambda: [event for event, _ in groupby(self.events())] == list(events), CLIENT_LIMIT_S), (
            self.events()
        )

    def stop(self) -> None:
        """End it in good order."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0


@contextmanager
def wires(folder: Path) -> Iterator[Wires]:
    """Give namespaces, and clear them away."""
    it = Wires(folder)
    try:
        yield it
    finally:
        it.close()


def report_script(folder: Path) -> Path:
    """A script for dhclient, udhcpc or dhcpcd that writes what it is told to `folder`/told.

    For udhcpc it also sets the address, without which that could not send its release.
    """
    script = folder / "report"
    lines = (
        "#!/bin/sh",
        f"env >> {folder}/told",
        '[ "$1" != bound ] || ip addr replace "$ip/$mask" dev "$interface"',
        '[ "$1" != deconfig ] || ip -4 addr flush dev "$interface"',
    )
    script.write_text("\n".join(lines) + "\n")
    script.chmod(0o755)
    return script


def told(folder: Path) -> dict[str, str]:
    """What the client's script was told, later lines over earlier ones."""
    file = folder / "told"
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(line.partition("=")[::2] for line in lines if "=" in line)
