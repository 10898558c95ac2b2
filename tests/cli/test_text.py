"""How values read on a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.cli.dhcp import LEASES
from provisioner.cli.root import SECTIONS
from provisioner.cli.text import (
    Column,
    age,
    fitted,
    folded,
    listing,
    painted,
    parse_span,
    printable,
    seconds_of,
    size,
    span,
    table,
)

AGES = {
    "unknown": (None, ""),
    "now": (0, "0s"),
    "a clock that runs behind": (-5, "0s"),
    "below two minutes in seconds": (119, "119s"),
    "minutes": (600, "10m"),
    "hours": (3 * 3600, "3h"),
    "days": (5 * 86400, "5d"),
}


@pytest.mark.parametrize(("seconds", "text"), AGES.values(), ids=AGES.keys())
def test_age(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


SPANS = {
    "seconds": (41.4, "41s"),
    "minutes": (161, "2m41s"),
    "a full minute": (59.6, "1m00s"),
    "hours": (3900, "1h05m"),
}


@pytest.mark.parametrize(("seconds", "text"), SPANS.values(), ids=SPANS.keys())
def test_span(seconds: float, text: str) -> None:
    assert span(seconds) == text


PARSED = {
    "90m": 5400.0,
    "1h30m": 5400.0,
    "45s": 45.0,
    "45": 45.0,
    "2d": 172800.0,
    "": None,
    "m90": None,
    "1.5h": None,
    "-5": None,
}


@pytest.mark.parametrize(("text", "seconds"), PARSED.items())
def test_parse_span(text: str, seconds: float | None) -> None:
    assert parse_span(text) == seconds


SIZES = {0: "0 B", 1023: "1023 B", 2 << 30: "2.0 GiB", 64 << 30: "64 GiB", 8 << 40: "8.0 TiB"}


@pytest.mark.parametrize(("octets", "text"), SIZES.items())
def test_size(octets: int, text: str) -> None:
    assert size(octets) == text


def test_times_of_the_api_are_read_back() -> None:
    assert seconds_of("2027-01-15T08:00:00.500Z") == 1_800_000_000.5
    assert seconds_of(None) is None


@given(st.text())
def test_nothing_printable_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in shown)


def test_printable_shows_what_was_there() -> None:
    assert printable("a\x1b[31mb\nc") == "a\\x1b[31mb\\x0ac"


COLUMNS = (Column("NAME", lambda row: row["n"]), Column("WHAT", lambda row: row["w"], style=lambda row: "31"))
ROWS = [{"n": "node17", "w": "a" * 20}, {"n": "b", "w": ""}]


def test_a_table_lines_up() -> None:
    assert table(ROWS, COLUMNS) == ["NAME    WHAT", f"node17  {'a' * 20}", "b"]


def test_a_table_gives_way_where_it_is_widest() -> None:
    assert table(ROWS, COLUMNS, width=18) == ["NAME    WHAT", f"node17  {'a' * 9}…", "b"]


def test_colour_ends_before_the_blanks() -> None:
    assert painted("ab  ", "31") == "\x1b[31mab\x1b[0m  "
    assert painted("  ", "31") == "  "
    assert table(ROWS[:1], COLUMNS, colour=True)[1] == f"node17  \x1b[31m{'a' * 20}\x1b[0m"


@given(st.lists(st.integers(0, 60), min_size=1, max_size=9), st.integers(1, 200))
def test_fitted_columns_fit_or_have_nothing_to_give(widths: list[int], width: int) -> None:
    titles = [min(w, 4) for w in widths]
    found = fitted(widths, titles, width)
    assert all(new <= old for new, old in zip(found, widths, strict=True))
    assert sum(found) + 2 * (len(found) - 1) <= max(width, sum(titles) + 2 * (len(found) - 1))


def test_a_name_is_never_cut() -> None:
    columns = (replace(COLUMNS[0], value=lambda row: row["n"] * 3, keep=True), COLUMNS[1])
    assert table(ROWS[:1], columns, width=26)[1] == "node17node17node17  aaaaa…"
    assert table(ROWS[:1], columns, width=10)[1] == "node17node17node17"


FLEET = (
    Column("NAME", lambda row: row["n"], keep=True),
    Column("STATE", lambda row: "enrolled"),
    Column("PHASE", lambda row: ""),
    Column("PROFILE", lambda row: ""),
    Column("BMC", lambda row: row["w"]),
    Column("AGE", lambda row: "3m", right=True),
)
NARROW = {
    "all have room": (62, ["NAME    STATE     PHASE  PROFILE  BMC                   AGE"]),
    "empty columns go first": (
        43,
        ["NAME    STATE     BMC                   AGE", "node17  enrolled  aaaaaaaaaaaaaaaaaaaa   3m"],
    ),
    "then the widest give way": (30, ["NAME    STATE     BMC      AGE", "node17  enrolled  aaaaaa…   3m"]),
    "then the last ones go": (22, ["NAME    STATE   BMC", "node17  enrol…  aaaaa…"]),
    "what the rest has no room for": (16, ["NAME    STATE", "node17  enrolled"]),
    "a name stays": (3, ["NAME", "node17"]),
}


@pytest.mark.parametrize(("width", "lines"), NARROW.values(), ids=NARROW.keys())
def test_a_table_fits_a_narrow_terminal(width: int, lines: list[str]) -> None:
    found = table(ROWS[:1], FLEET, width=width)
    assert found[: len(lines)] == lines
    assert all(len(line) <= max(width, len("node17")) for line in found)


LEASED = {
    "address": "10.77.0.18", "mac": "52:54:00:77:00:18", "name": "node18", "state": "active", "subnet": "rack1",
    "until": "9999-01-01T00:00:00Z", "reason": "",
}  # fmt: skip
LISTED = {
    "all of it": (80, ["10.77.0.18", "52:54:00:77:00:18", "node18", "active", "for ever", "rack1"]),
    "what has no room, and nothing in its place that nobody can read": (
        60, ["10.77.0.18", "52:54:00:77:00:18", "node18", "active", "for ever"]),
    "no time that might be another": (50, ["10.77.0.18", "52:54:00:77:00:18", "node18", "active"]),
    "what one types, however narrow it is": (20, ["10.77.0.18", "52:54:00:77:00:18", "node18"]),
}  # fmt: skip


@pytest.mark.parametrize(("width", "shown"), LISTED.values(), ids=LISTED.keys())
def test_leases_on_a_narrow_terminal(width: int, shown: list[str]) -> None:
    columns = [replace(c, value=lambda row: "for ever") if c.title == "LEFT" else c for c in LEASES if not c.wide]
    assert re.split(" {2,}", table([LEASED], columns, width=width)[1]) == shown


MODULES = sorted({entry.place.partition(":")[0] for entries in SECTIONS.values() for entry in entries})


@pytest.mark.parametrize("module", MODULES)
def test_what_is_typed_to_mean_a_row_is_cut_in_no_list(module: str) -> None:
    held = vars(import_module(f"provisioner.cli.{module}")).values()
    for columns in (each for each in held if isinstance(each, tuple) and isinstance(next(iter(each), None), Column)):
        assert [c.title for at, c in enumerate(columns) if (at == 0 or c.title == "NAME") and not c.keep] == []


@given(st.lists(st.tuples(st.text("abc", max_size=6), st.text("abc", max_size=30)), max_size=5), st.integers(6, 90))
def test_no_line_is_wider_than_the_terminal(texts: list[tuple[str, str]], width: int) -> None:
    rows = [{"n": name, "w": what} for name, what in texts]
    assert all(len(line) <= width for line in table(rows, FLEET, width=width))


FOLDED = {
    "one that fits": ("a b", 3, ["a b"]),
    "no terminal": ("one two", 0, ["one two"]),
    "under its text, behind its name": ("  files  one two", 18, ["  files  one two"]),
    "narrower": ("  files  one two 3", 16, ["  files  one two", "        3"]),
    "without a name, two further in": ("one two three", 9, ["one two", "  three"]),
    "what goes on under a text": ("     one two 3", 12, ["     one two", "      3"]),
    "a word stays whole": ("a  /a/long/path x", 10, ["a", "   /a/long/path", "   x"]),
    "a command stays whole": ("one (`two 3 4`) 5", 9, ["one", "  (`two 3 4`)", "  5"]),
    "a line with colours": ("\x1b[1mone\x1b[0m  two 3", 9, ["\x1b[1mone\x1b[0m  two", "    3"]),
}


@pytest.mark.parametrize(("line", "width", "lines"), FOLDED.values(), ids=FOLDED.keys())
def test_folded(line: str, width: int, lines: list[str]) -> None:
    assert folded(line, width) == lines


def test_listing_hangs_further_lines_under_the_first() -> None:
    assert listing([("disks", "vda\nvdb"), ("tpm", ""), ("id", "7")]) == ["disks  vda", "       vdb", "id     7"]
