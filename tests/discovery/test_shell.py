"""The agent's shell code: JSON from any bytes, streams over a daemon that comes and goes, quoting."""

from __future__ import annotations

import asyncio
import json
import os
import re
import string
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.discovery.build.ramdisk import RAMDISK
from provisioner.workflow.jobs import LIBRARY
from tests.catalog.test_proving_families import files
from tests.discovery.shell import STRICT, run

FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""A shell is started for every example."""
KEPT = set(string.printable) - set("\r\x0b\x0c")


@FEW
@given(st.binary(max_size=300))
def test_any_bytes_become_a_json_string(tmp_path: Path, raw: bytes) -> None:
    done = run("json_string", tmp_path, raw)
    text = json.loads(done.stdout)
    expected = "".join(char for char in raw.decode("latin-1") if char in KEPT)
    # awk reads lines: the last line's end is not part of the value
    assert text == expected.removesuffix("\n")


@FEW
@given(st.dictionaries(st.text(string.ascii_lowercase + "_", min_size=1, max_size=8), st.text(max_size=30), max_size=6))
def test_lines_become_a_json_object(tmp_path: Path, values: dict[str, str]) -> None:
    values = {key: "".join(value.split("\n")).replace("\r", "") for key, value in values.items()}
    lines = "".join(f"{key} {value}\n" for key, value in values.items())
    found = json.loads(run("json_object", tmp_path, lines.encode()).stdout)
    expected = {key: "".join(c for c in value if c in KEPT).rstrip(" ") for key, value in values.items()}
    assert found == expected


@FEW
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_quoted_text_is_one_word_with_the_same_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "text").write_text(text)
    done = run(f'eval "set -- $(quoted "$(cat {tmp_path}/text)")"; printf "%s|%s" "$#" "$1"', tmp_path)
    # $( ) takes line ends off, here as wherever the function is used
    assert done.stdout.decode() == f"1|{text.rstrip(chr(10))}"


def test_progress_is_json_whatever_the_message(tmp_path: Path) -> None:
    run("""progress write 41.5 'a "quoted" \\ message'""", tmp_path)
    posted = json.loads((tmp_path / "work" / "progress").read_text())
    assert posted == {"phase": "write", "percent": 41.5, "message": 'a "quoted" \\ message'}


PARTITIONS = {"/dev/sda": "/dev/sda3", "/dev/nvme0n1": "/dev/nvme0n1p3", "/dev/mmcblk0": "/dev/mmcblk0p3"}


@pytest.mark.parametrize(("disk", "name"), PARTITIONS.items())
def test_names_of_partitions(tmp_path: Path, disk: str, name: str) -> None:
    assert run(f"partition {disk} 3", tmp_path).stdout.decode().strip() == name


def test_a_disk_that_has_the_wished_name_is_found_however_many_it_has(tmp_path: Path) -> None:
    """A pipe whose reader stops at the first match would fail now and then."""
    names = "disk_names() { echo right; seq 100000; }"
    assert run(f"{names}\nis_called /dev/sda right", tmp_path).returncode == 0
    assert run(f"{names}\nis_called /dev/sda wrong", tmp_path).returncode == 1


FIRST_LINES = {
    "blanks around it": ({"a": "  S3 X \n"}, "S3 X\n"),
    "no line end": ({"a": "LAB0018-D0"}, "LAB0018-D0\n"),
    "the first that has one": ({"b": "two\nthree\n"}, "two\n"),
    "none": ({}, ""),
}


@pytest.mark.parametrize(("files", "expected"), FIRST_LINES.values(), ids=FIRST_LINES.keys())
def test_first_line(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert run(f"first_line {tmp_path}/a {tmp_path}/b", tmp_path).stdout.decode() == expected


STRICTNESS = {
    "a failing command": "false; echo on",
    "a failing part of a pipe": "false | cat; echo on",
    "a variable that nobody set": "echo $no_such_variable; echo on",
    "a failing substitution": "a=$(fail no disk); echo on",
}


@pytest.mark.parametrize("script", STRICTNESS.values(), ids=STRICTNESS.keys())
def test_jobs_end_at_the_first_thing_that_fails(tmp_path: Path, script: str) -> None:
    done = run(script, tmp_path)
    assert done.returncode != 0
    assert b"on" not in done.stdout


def test_why_a_job_failed_is_not_lost_in_a_substitution(tmp_path: Path) -> None:
    assert b"failed: no disk" in run("a=$(fail no disk)", tmp_path).stderr


CONTENT = bytes(range(256)) * 4096
Answer = Callable[[int, int], web.StreamResponse | tuple[int, int]]


class Flaky:
    """Serves CONTENT with ranges. `breaks[n]` says what happens to request n: bytes to send before the connection is
    cut, or a status to refuse with; without an entry all is sent."""

    def __init__(self, breaks: dict[int, int | str]) -> None:
        self.breaks = breaks
        self.starts: list[int] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        number = len(self.starts)
        span = request.http_range
        start = span.start or 0
        self.starts.append(start)
        what = self.breaks.get(number)
        if isinstance(what, str):
            return web.Response(status=int(what))
        if start >= len(CONTENT):
            return web.Response(status=416)
        headers = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        response.content_length = len(CONTENT) - start
        await response.prepare(request)
        await response.write(CONTENT[start:] if what is None else CONTENT[start : start + what])
        if what is not None and request.transport is not None:
            request.transport.close()
        return response

    async def fetch(self, state: Path) -> tuple[bytes, int, str]:
        """Run `stream` against this server."""
        app = web.Application()
        app.router.add_get("/image", self.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            port = runner.addresses[0][1]
            done = await asyncio.to_thread(run, f"stream http://127.0.0.1:{port}/image", state)
            return done.stdout, done.returncode, done.stderr.decode()
        finally:
            await runner.cleanup()


async def test_a_stream_that_nothing_disturbs(tmp_path: Path) -> None:
    server = Flaky({})
    assert await server.fetch(tmp_path) == (CONTENT, 0, "")
    assert server.starts == [0]


@pytest.mark.slow
async def test_a_stream_goes_on_where_it_broke(tmp_path: Path) -> None:
    server = Flaky({0: 100_000, 1: 300_000, 2: "503"})
    content, status, said = await server.fetch(tmp_path)
    assert (content, status) == (CONTENT, 0)
    assert len(server.starts) == 4
    assert 0 < server.starts[1] < server.starts[2] == server.starts[3]
    assert "broke off at byte" in said


async def test_a_stream_that_broke_at_its_very_end_is_whole(tmp_path: Path) -> None:
    server = Flaky({0: len(CONTENT)})
    content, status, _ = await server.fetch(tmp_path)
    assert (content, status) == (CONTENT, 0)


@pytest.mark.parametrize("refusal", ["404", "401", "410"])
async def test_a_refusal_ends_the_stream(tmp_path: Path, refusal: str) -> None:
    server = Flaky({0: refusal})
    content, status, said = await server.fetch(tmp_path)
    assert (content, status) == (b"", 1)
    assert f"HTTP {refusal}" in said
    assert server.starts == [0]


def test_a_reader_that_goes_away_ends_the_stream(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(CONTENT * 4)
    done = run(f"stream file://{tmp_path}/image | head -c 10 >/dev/null", tmp_path)
    assert done.returncode != 0


PACKINGS = {
    "zst": ["zstd", "-qc"],
    "gz": ["gzip", "-c"],
    "xz": ["xz", "-c"],
    "raw": ["cat"],
    "tar": ["cat"],
}


@pytest.mark.parametrize(("ending", "pack"), PACKINGS.items())
def test_images_are_unpacked_by_the_end_of_their_name(tmp_path: Path, ending: str, pack: list[str]) -> None:
    packed = subprocess.run(pack, input=CONTENT, capture_output=True, check=True).stdout
    assert run(f"unpack {ending}", tmp_path, packed).stdout == CONTENT


@pytest.mark.parametrize("ending", ["zst", "gz", "xz"])
def test_an_image_that_is_cut_short_fails(tmp_path: Path, ending: str) -> None:
    packed = subprocess.run(PACKINGS[ending], input=CONTENT, capture_output=True, check=True).stdout
    assert run(f"unpack {ending} | cat >/dev/null", tmp_path, packed[:-20]).returncode != 0


FIXED = """
mkdir {root}/bin && busybox --install -s {root}/bin
echo 'quiet ip=10.0.8.17::10.0.8.1:255.255.252.0:node17::off nameserver=10.0.8.2 nameserver=10.0.8.3' > {root}/cmdline
: > {root}/resolv.conf
mount --bind {root}/cmdline /proc/cmdline && mount --bind {root}/resolv.conf /etc/resolv.conf || exit 1
/sbin/ip link add eth0 type veth peer name far && ip link set far up && ip link set eth0 up || exit 1
. {part}/lib.sh
. {part}/network.sh
PATH={root}/bin:$PATH
fixed_address eth0
ip -4 -o address show dev eth0 | grep -o 'inet [^ ]*'
ip route show | grep -o "^default.*eth0"
cat /etc/resolv.conf $state/lease
"""


@pytest.mark.netns
def test_an_address_of_the_command_line_is_taken_without_asking(tmp_path: Path) -> None:
    script = FIXED.format(root=tmp_path, part=Path(__file__).parents[2] / "provisioner" / "discovery" / "ramdisk")
    done = subprocess.run(
        ["unshare", "-mn", "busybox", "sh", "-e", "-c", script], env={"PROVISIONER_STATE": str(tmp_path)} | os.environ,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "inet 10.0.8.17/22",
        "default via 10.0.8.1 dev eth0",
        "nameserver 10.0.8.2",
        "nameserver 10.0.8.3",
        "eth0 10.0.8.17/22, fixed",
    ], done.stderr


def test_what_there_is_instead_of_the_port_is_said_in_one_line(tmp_path: Path) -> None:
    assert run("interfaces", tmp_path, part="network.sh").stdout.decode().split("\n") == [
        " ".join(sorted(path.name for path in Path("/sys/class/net").iterdir())),
        "",
    ]


CLOCKS = {
    "of a dead battery": ("Date: Fri, 27 Nov 2026 14:00:00 GMT\r\n", 946684800, "set -s @1795788000\n"),
    "of another zone": ("date: Fri, 27 Nov 2026 14:00:00 GMT\r\n", 1795788000 + 18000, "set -s @1795788000\n"),
    "good enough": ("Date: Fri, 27 Nov 2026 14:00:00 GMT\r\n", 1795788000 - 59, ""),
    "nobody says": ("Server: x\r\n", 946684800, ""),
    "not a time": ("Date: now\r\n", 946684800, ""),
}
CLOCK = """
log() {{ :; }}
date() {{ case $1 in +%s) echo {now} ;; -s) echo "set $*" >$state/set ;; *) busybox date "$@" ;; esac; }}
set_clock $state/headers
"""


@pytest.mark.parametrize(("headers", "now", "expected"), CLOCKS.values(), ids=CLOCKS.keys())
def test_the_clock_is_the_daemons(tmp_path: Path, headers: str, now: int, expected: str) -> None:
    (tmp_path / "headers").write_text(f"HTTP/1.1 200 OK\r\n{headers}\r\n")
    (tmp_path / "set").write_text("")
    done = run(CLOCK.format(now=now), tmp_path, part="lib.sh")
    assert (done.returncode, (tmp_path / "set").read_text()) == (0, expected), done.stderr


LINKS = {
    "all have one": (0, 100, 100),
    "one takes three seconds": (103, 100, 103),
    "one is not plugged in": (1000, 100, 110),
    "they had their time": (1000, 60, 100),
}
PORTS = """
now=100
uptime_s() {{ echo $now.25; }}
sleep() {{ now=$((now + 1)); }}
linkless() {{ [ $now -ge {link} ] || echo eth1; }}
echo {since}.75 >$state/links
settle_links
echo $now
"""


@pytest.mark.parametrize(("link", "since", "told"), LINKS.values(), ids=LINKS.keys())
def test_facts_are_told_once_ports_have_had_time_for_a_link(tmp_path: Path, link: int, since: int, told: int) -> None:
    script = f". $PROVISIONER_LIB/facts.sh\n{PORTS.format(link=link, since=since)}"
    assert run(script, tmp_path, part="lib.sh").stdout.decode().strip() == str(told)


ALL = re.findall("(?m)^job_format=.*$", (RAMDISK / "job.sh").read_text())
BUILT = {
    "before it had a format": ("", 1, "build it again (provisionctl images build discovery)"),
    "for an earlier daemon": ("job_format=1", 1, "build it again (provisionctl images build discovery)"),
    "for this one": ("\n".join(ALL), 3, "looks for disks"),
}
JOBS = {"erase": ("discovery", "erase"), "image": ("debian-12", "job.sh"), "packages": ("debian-12-packages", "job.sh")}


@pytest.mark.parametrize(("bootenv", "name"), JOBS.values(), ids=JOBS.keys())
@pytest.mark.parametrize(("line", "status", "said"), BUILT.values(), ids=BUILT.keys())
def test_a_job_asks_first_what_the_discovery_system_was_built_for(
    bootenv: str, name: str, line: str, status: int, said: str, tmp_path: Path
) -> None:
    library = tmp_path / "job.sh"
    fail = 'fail() { echo "failed: $*" >&2; exit 1; }'
    first = "step() { :; }; whole_disks() { echo looks for disks >&2; exit 3; }; find_disk() { whole_disks; }"
    library.write_text(f"{line}\n{fail}\n{first}\n")
    job = files(bootenv)[name]
    assert job.count(LIBRARY) == 1
    done = subprocess.run(
        [*STRICT, job.replace(LIBRARY, str(library))], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (status, True, 1), done
