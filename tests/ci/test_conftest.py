"""The guards of tests/conftest.py: each of them makes a bad test fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import APART, holds_files, scope_of

ROOT = Path(__file__).parents[2]

SLEEPY = """import time
def block(): time.sleep(0.001)
def hide():
    try: block()
    except Exception: pass
"""
CASES = {
    "passes": ("def test_it(): pass", "PASSED"),
    "our_code_blocks_the_loop": ("from provisioner import sleepy\nasync def test_it(): sleepy.block()", "FAILED"),
    "our_code_blocks_the_loop_and_hides_it": (
        "from provisioner import sleepy\nasync def test_it(): sleepy.hide()",
        "ERROR",
    ),
    "our_code_blocks_a_thread_of_its_own": (
        "import asyncio\nfrom provisioner import sleepy\nasync def test_it(): await asyncio.to_thread(sleepy.block)",
        "PASSED",
    ),
    "two_minutes_of_virtual_time": (
        "import asyncio, pytest\n@pytest.mark.looptime\nasync def test_it(looptime):\n"
        "    await asyncio.sleep(120)\n    assert looptime == 120",
        "PASSED",
    ),
    "a_warning": ("import warnings\ndef test_it(): warnings.warn('old')", "FAILED"),
    "a_coroutine_that_nobody_awaits": ("import asyncio\ndef test_it(): asyncio.sleep(0)", "FAILED"),
    "a_namespace_as_root": ("import pytest\n@pytest.mark.netns\ndef test_it(): pass", "PASSED"),
    "an_unknown_marker": ("import pytest\n@pytest.mark.labb\ndef test_it(): pass", "ERROR"),
    "a_deadline_of_hypothesis_is_off": (
        "import time\nfrom hypothesis import given, settings, strategies\n@settings(max_examples=2)\n"
        "@given(strategies.integers())\ndef test_it(n): time.sleep(0.25)",
        "PASSED",
    ),
}
LEFT_OUT = {
    "a_skip": "import pytest\ndef test_it(): pytest.skip('no root')",
    "a_module_that_skips_itself": "import pytest\npytest.skip('no root', allow_module_level=True)",
    "an_expected_failure": "import pytest\n@pytest.mark.xfail(reason='no root')\ndef test_it(): assert False",
    "a_namespace": "import pytest\n@pytest.mark.netns\ndef test_it(): pass",
    "a_machine": "import pytest\n@pytest.mark.lab\ndef test_it(): pass",
}
"""What does not run where the user is not root."""


NO_PLACES = {
    "none such": "/nowhere",
    "nobody can make a file there, and nothing is run from it": "/proc",
    "a file": "/dev/full",
}


@pytest.mark.parametrize("folder", NO_PLACES.values(), ids=NO_PLACES.keys())
def test_files_of_tests_lie_where_there_is_room_and_programs_run(folder: str) -> None:
    assert not holds_files(Path(folder))


SCOPES = {
    "a file is one worker's": ("tests/lab/test_rack.py::test_up_twice", "tests/lab/test_rack.py"),
    "of classes too": ("tests/test_wire.py::TestLife::test_it[a::b]", "tests/test_wire.py"),
    "each test of a file that is apart": (
        "tests/workflow/test_crash.py::test_killed[deploy]", "tests/workflow/test_crash.py::test_killed[deploy]"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("test", "scope"), SCOPES.values(), ids=SCOPES.keys())
def test_scope(test: str, scope: str) -> None:
    assert scope_of(test) == scope


def test_files_that_are_apart_are_there() -> None:
    assert [file for file in sorted(APART) if not (ROOT / file).exists()] == []


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A small project with our conftest and our settings of pytest."""
    (pytester.mkpydir("provisioner") / "sleepy.py").write_text(SLEEPY)
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text() + "\nos.geteuid = lambda: 0\n")
    (pytester.path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    return pytester


@pytest.mark.slow
def test_guards(project: pytest.Pytester) -> None:
    project.makepyfile(**{f"test_{name}": source for name, (source, _) in CASES.items()})
    result = project.runpytest_subprocess("-rA", "--continue-on-collection-errors", str(project.path))
    outcomes = {line.split(" - ")[0] for line in result.outlines if line.startswith(("PASSED", "FAILED", "ERROR"))}
    for name, (_, outcome) in CASES.items():
        assert {f"{outcome} test_{name}.py", f"{outcome} test_{name}.py::test_it"} & outcomes, (name, outcomes)


RUNS = {
    "no skips allowed": (("--no-skips",), 1),
    "no skips allowed, on two cores": (("--no-skips", "-n", "2"), 1),
    "allowed": (("-q",), 0),
}


@pytest.mark.slow
@pytest.mark.parametrize(("options", "had"), [((), [1]), (("--all-points",), [0, 1, 2])])
def test_points_are_shared_unless_all_are_asked_for(
    project: pytest.Pytester, options: tuple[str, ...], had: list[int]
) -> None:
    asked = "[at for at, _ in share.of('abc', 'late', ['early', 'late', 'never'])]"
    project.makepyfile(test_it=f"def test_it(share): assert {asked} == {had}")
    assert project.runpytest_subprocess(*options, str(project.path)).ret == pytest.ExitCode.OK


@pytest.mark.slow
@pytest.mark.parametrize(("options", "exit_status"), RUNS.values(), ids=RUNS.keys())
def test_skips_are_told_with_their_reason(project: pytest.Pytester, options: tuple[str, ...], exit_status: int) -> None:
    project.makeconftest((ROOT / "tests/conftest.py").read_text() + "\nos.geteuid = lambda: 1000\n")
    project.makepyfile(test_it="def test_it(): pass", **{f"test_{name}": text for name, text in LEFT_OUT.items()})
    result = project.runpytest_subprocess(*options, str(project.path))
    assert result.ret == exit_status
    if exit_status:
        result.stdout.fnmatch_lines_random(["*5 not run, which*"] + [f"test_{name}.py*root*" for name in LEFT_OUT])


COUNTED = {
    "tests/dhcp/test_rule.py": """from hypothesis import given, strategies
def test_table(): pass
@given(strategies.integers())
def test_property(n): pass
""",
    "tests/store/test_rows.py": "def test_rows(): pass",
}


@pytest.mark.slow
def test_what_does_not_count_is_known_before_tests_are_chosen(project: pytest.Pytester) -> None:
    for name, text in COUNTED.items():
        (project.path / name).parent.mkdir(parents=True)
        (project.path / name).write_text(text)
    result = project.runpytest_subprocess("--collect-only", "-q", "-m", "not unmeasured", "tests")
    assert [line for line in result.outlines if "::" in line] == ["tests/dhcp/test_rule.py::test_table"]


OF_A_KIND = {
    "tests/test_fast.py": "raise SystemExit('is not looked into')",
    "tests/test_machine.py": "import pytest\n@pytest.mark.lab\ndef test_it(): pass\ndef test_fast(): pass",
    "tests/test_wire.py": "import pytest\n@pytest.mark.slow\ndef test_it(): pass",
    "tests/store/test_rows.py": "def test_it(): pass",
}
ASKED = {
    "lab": ["tests/test_machine.py::test_it"],
    "slow,unmeasured": ["tests/store/test_rows.py::test_it", "tests/test_wire.py::test_it"],
}


@pytest.mark.slow
@pytest.mark.parametrize(("kinds", "found"), ASKED.items(), ids=ASKED.keys())
def test_files_of_other_kinds_are_not_imported(project: pytest.Pytester, kinds: str, found: list[str]) -> None:
    for name, text in OF_A_KIND.items():
        (project.path / name).parent.mkdir(parents=True, exist_ok=True)
        (project.path / name).write_text(text)
    chosen = ("-m", kinds.replace(",", " or "), "--kinds", kinds)
    result = project.runpytest_subprocess("--collect-only", "-q", *chosen, "tests")
    assert sorted(line for line in result.outlines if "::" in line) == found


BROKEN = {
    "tests/test_absent.py": "import no_such_module",
    "tests/test_fine.py": "def test_it(): pass",
    "tests/test_other.py": "from tests.test_absent import anything",
    "tests/test_root.py": "import pytest\npytest.skip('no root', allow_module_level=True)",
}


@pytest.mark.slow
def test_a_file_that_cannot_be_imported_is_told_by_workers_too(project: pytest.Pytester) -> None:
    for name, text in BROKEN.items():
        (project.path / name).parent.mkdir(exist_ok=True)
        (project.path / name).write_text(text)
    result = project.runpytest_subprocess("-n", "2", "--dist", "loadfile", "--continue-on-collection-errors")
    result.assert_outcomes(passed=1, errors=2, skipped=1)


@pytest.mark.slow
def test_a_marker_that_does_not_stand_in_the_file_is_refused(project: pytest.Pytester) -> None:
    (project.mkpydir("more") / "marks.py").write_text("import pytest\nSLOW = pytest.mark.slow\n")
    (project.path / "more" / "test_it.py").write_text("from more import marks\n@marks.SLOW\ndef test_it(): pass")
    result = project.runpytest_subprocess("more")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*more/test_it.py::test_it is slow, but mark*is not in its file*"])


TOGETHER = """import os
from pathlib import Path
MEETING = Path(__file__).with_suffix(".fifo")
try: os.mkfifo(MEETING)
except FileExistsError: pass
def test_one(): MEETING.open("wb").close()
def test_other(): MEETING.open("rb").close()
"""
"""Each of them waits for the other."""
ONE_BY_ONE = """seen = []
def test_one(): seen.append(1)
def test_two(): assert seen == [1]
"""
SPREAD = {
    "tests of a file that is apart, at the same time": ("tests/workflow/test_crash.py", TOGETHER),
    "a file's tests, by one worker": ("tests/workflow/test_plan.py", ONE_BY_ONE),
}


@pytest.mark.slow
@pytest.mark.parametrize(("file", "text"), SPREAD.values(), ids=SPREAD.keys())
def test_what_workers_are_given(project: pytest.Pytester, file: str, text: str) -> None:
    (project.path / file).parent.mkdir(parents=True)
    (project.path / file).write_text(text)
    result = project.runpytest_subprocess("-n", "2", "--dist", "loadfile", "--timeout", "50", str(project.path))
    result.assert_outcomes(passed=2)
