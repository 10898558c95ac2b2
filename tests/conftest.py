"""What every test runs under: nobody blocks the loop, nothing is left out unseen.

Virtual time: mark a test (or a module, `pytestmark = pytest.mark.looptime`) with `looptime`, and `asyncio.sleep(120)`
takes no time at all. Tests that talk to real sockets, threads or programs stay on the real clock.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import blockbuster.blockbuster as guard
import hypothesis
import looptime._internal.plugin as virtual
import pytest
from _pytest.pathlib import ImportMode, import_path
from xdist.scheduler import LoadScopeScheduling

import provisioner
from tests.share import Share

hypothesis.settings.register_profile("here", deadline=None, print_blob=True)
hypothesis.settings.load_profile("here")

IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30
"""Several times what all tests have there at once."""


def holds_files(folder: Path) -> bool:
    """Say whether the files of tests can lie here: there is room, and programs may be run from it."""
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return False
    there = os.statvfs(folder)
    return there.f_bavail * there.f_frsize >= ROOM_BYTES and not there.f_flag & os.ST_NOEXEC


if holds_files(IN_MEMORY):
    # thousands of stores are written and synced; what waits for a disk that is real says so itself (tests/store/disk.c)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))

PACKAGE = Path(provisioner.__file__).parent
blocked: list[str] = []
"""Blocking calls, and where in our code, seen on a running loop since the current test began."""


class Blocked(guard.BlockingError):
    """Remembers itself: a task that logs and goes on would hide the call from its test."""

    def __init__(self, func: str) -> None:
        super().__init__(func)
        ours = [frame for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(PACKAGE)]
        blocked.append(f"{func} from {' > '.join(f'{frame.filename}:{frame.lineno}' for frame in ours[-3:])}")


@pytest.fixture(scope="session", autouse=True)
def watch_for_blocking_calls() -> Iterator[None]:
    """Any blocking call that our code makes on a running loop raises."""
    original, guard.BlockingError = guard.BlockingError, Blocked  # type: ignore[misc]
    with guard.blockbuster_ctx(provisioner) as watched:
        # pytest's own log file, not ours: the daemon hands its log lines to a thread
        for writes in ("io.TextIOWrapper.write", "io.BufferedWriter.write"):
            watched.functions[writes].can_block_in("logging/__init__.py", {"emit", "flush"})
        # what is handed to the kernel and waits for nothing (`store.pace`)
        for runs in ("sqlite3.Cursor.execute", "sqlite3.Cursor.fetchall", "sqlite3.Connection.rollback"):
            watched.functions[runs].can_block_in("provisioner/store/db.py", {"_commit_here"})
        yield
    guard.BlockingError = original  # type: ignore[misc]


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop(watch_for_blocking_calls: None) -> Iterator[None]:
    """A test during which our code blocked the loop fails, even where the error itself was swallowed."""
    blocked.clear()
    yield
    assert not blocked, f"blocked the event loop: {', '.join(blocked)}"


@pytest.fixture(scope="session")
def share(request: pytest.FixtureRequest) -> Share:
    return Share(request.config.getoption("all_points"))


NO_TESTS = pytest.ExitCode.NO_TESTS_COLLECTED
skipped: list[str] = []
"""Every test that did not run, with its reason."""


def pytest_sessionstart() -> None:
    """Say that no loop is current: looptime asks before each test, and Python 3.12 would make and leak one."""
    asyncio.set_event_loop(None)


_has_loop = virtual._should_patch
_has_loops: dict[tuple[str, str], bool] = {}


def _has_loop_once(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> bool:
    """Say whether a fixture makes a loop: to find out, looptime looks through all names of pytest-asyncio."""
    key = (fixturedef.func.__module__, fixturedef.argname)
    if key not in _has_loops:
        _has_loops[key] = _has_loop(fixturedef, request)
    return _has_loops[key]


virtual._should_patch = _has_loop_once


APART = frozenset(
    {
        "tests/discovery/test_guest.py",
        "tests/lab/test_board_journeys.py",
        "tests/lifecycle/test_crash.py",
        "tests/lifecycle/test_faults_cancel.py",
        "tests/lifecycle/test_faults_everywhere.py",
        "tests/tftp/test_clients.py",
        "tests/workflow/test_crash.py",
        "tests/workflow/test_faults_everywhere.py",
    }
)
"""Files of tests that take long and share nothing, no port and no rack: they may run at the same time."""


def scope_of(test: str) -> str:
    """What one worker runs from beginning to end: the file of a test, which may have a port or a rack of its own."""
    file = test.partition("::")[0]
    return test if file in APART else file


class Spread(LoadScopeScheduling):
    """Hands out files, and single tests of those that are apart."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread | None:
    return Spread(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Look for no garbage among what is imported: it stays. Takes two fifths of the time off every worker's start."""
    gc.disable()
    try:
        _import_share(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _import_share(config: pytest.Config) -> None:
    """Have a worker import its share of all files first: whoever comes to one after that finds it compiled.

    In a fresh clone, each worker would rewrite the asserts of every file at the same time as the others.
    """
    ours = getattr(config, "workerinput", None)
    if ours is None or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    files = sorted(path for folder in config.args for path in (config.rootpath / folder).rglob("test_*.py"))
    chosen = [path for path in files if not pytest_ignore_collect(path, config)]
    for path in chosen[int(ours["workerid"].removeprefix("gw")) :: ours["workercount"]]:
        try:
            import_path(path, mode=ImportMode.importlib, root=config.rootpath, consider_namespace_packages=False)
        except (Exception, pytest.skip.Exception):  # noqa: BLE001 - collecting it tells what is wrong
            for name in [name for name, module in sys.modules.items() if getattr(module, "__file__", "") == str(path)]:
                del sys.modules[name]


UNMEASURED = (
    "tests/catalog/test_load.py",
    "tests/catalog/test_proving_families.py",
    "tests/store/",
    "tests/tftp/test_server.py",
)
"""Tests of shells: what they reach of rules, the tables of those have to reach as well."""


KINDS = {
    "lab": r"mark\.lab\b",
    "netns": r"mark\.netns\b",
    "slow": r"mark\.slow\b",
    "unmeasured": r"\bhypothesis\b|mark\.unmeasured\b",
}
"""What stands in each file that has tests with a marker."""


def may_have(file: str, text: str, kind: str) -> bool:
    """Say whether a file of tests can have some of a kind, without importing it."""
    return re.search(KINDS[kind], text) is not None or (kind == "unmeasured" and file.startswith(UNMEASURED))


@cache
def _text(file: Path) -> str:
    return file.read_text()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files that have nothing of the kinds that are asked for: each worker imports all others."""
    kinds = config.getoption("kinds")
    if not kinds or not collection_path.match("test_*.py"):
        return None
    file = collection_path.relative_to(config.rootpath).as_posix()
    return None if any(may_have(file, _text(collection_path), kind) for kind in kinds) else True


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what may take long first: workers that share it end at about the same time. Leave properties unmeasured."""
    limits: dict[str, float] = {}
    for item in items:
        scope = scope_of(item.nodeid)
        limits[scope] = max(limits.get(scope, 0.0), _limit_s(item))
        if item.nodeid.startswith(UNMEASURED) or getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("unmeasured")  # what chance reaches, tables have to reach as well
        for kind, words in KINDS.items():
            if item.get_closest_marker(kind) and not may_have(item.nodeid, _text(item.path), kind):
                raise pytest.UsageError(f"{item.nodeid} is {kind}, but {words} is not in its file (`--kinds`)")
    tests = Counter(scope_of(item.nodeid) for item in items)
    items.sort(key=lambda item: (-limits[scope := scope_of(item.nodeid)], -tests[scope]))


def _limit_s(item: pytest.Item) -> float:
    """The limit in a test's own mark, which thus steers the order also where it only ends what hangs; 0: no mark."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark is not None and mark.args else 0.0


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what only root can do, and say so."""
    needs_root = [mark for mark in ("lab", "netns") if item.get_closest_marker(mark)]
    if needs_root and os.geteuid() != 0:
        pytest.skip(f"needs root ({needs_root[0]}): sudo scripts/test")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a test that is skipped or expected to fail fails the run")
    parser.addoption("--all-points", action="store_true", help="break a life in every way at every point of it")
    parser.addoption(
        "--kinds",
        type=lambda words: words.split(","),
        default=[],
        metavar="MARKER,...",
        help=f"look only into files that have tests with one of these markers: {', '.join(KINDS)}",
    )


def _remember(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
        skipped.append(f"{report.nodeid}: {reason}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _remember(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _remember(report)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if skipped and session.config.getoption("no_skips") and exitstatus in (pytest.ExitCode.OK, NO_TESTS):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if skipped and terminalreporter.config.getoption("no_skips"):
        terminalreporter.section(f"{len(skipped)} not run, which --no-skips does not allow", red=True)
        for line in skipped:
            terminalreporter.line(line)
