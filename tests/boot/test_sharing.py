"""The lines of the fan-out: what is read is bounded and understood, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.boot.fanout import Done, Order, Outcome, Report, Wait
from provisioner.boot.sharing import Offer, read_offer, read_report, write_answer
from provisioner.errors import WireError

PATH = "0123456789abcdef"

OFFERS = {
    "nothing yet": (f"port 8089\npath {PATH}\n", Offer(8089, PATH, frozenset())),
    "some chunks": (f"port 8089\npath {PATH}\nhave 0-2\nhave 7-7\n", Offer(8089, PATH, frozenset({0, 1, 2, 7}))),
    "all that there can be": (f"port 8089\npath {PATH}\nhave 0-65535\n", Offer(8089, PATH, frozenset(range(65536)))),
}


@pytest.mark.parametrize(("text", "offer"), OFFERS.values(), ids=OFFERS.keys())
def test_offers(text: str, offer: Offer) -> None:
    assert read_offer(text) == offer


BAD_OFFERS = {
    "no port": f"path {PATH}",
    "no path": "port 8089",
    "the port of somebody else's service": f"port 22\npath {PATH}",
    "a port that is none": f"port 70000\npath {PATH}",
    "a path that leads elsewhere": "port 8089\npath ../../etc/passwd0000",
    "a path that can be guessed": "port 8089\npath x",
    "a host": f"port 8089\npath {PATH}\nhost 10.0.0.9",
    "more chunks than there can be": f"port 8089\npath {PATH}\nhave 0-999999",
    "all that there can be, and one again": f"port 8089\npath {PATH}\nhave 0-65535\nhave 7-7",
    "all that there can be, on every line": f"port 8089\npath {PATH}\n" + "have 0-65535\n" * 4094,
    "a span that ends before it begins": f"port 8089\npath {PATH}\nhave 7-6",
}


@pytest.mark.parametrize("text", BAD_OFFERS.values(), ids=BAD_OFFERS.keys())
def test_offers_that_are_refused(text: str) -> None:
    with pytest.raises(WireError):
        read_offer(text)


REPORTS = {
    "the first": ("", Report()),
    "how it went": (
        "got 1\nbad 2\nlacks 3\ngone 4\n",
        Report(((Outcome.GOT, 1), (Outcome.BAD, 2), (Outcome.LACKS, 3), (Outcome.GONE, 4))),
    ),
    "a window": ("want 4 9\ndropped 2\n", Report((), 4, 9, 2)),
}


@pytest.mark.parametrize(("text", "report"), REPORTS.values(), ids=REPORTS.keys())
def test_reports(text: str, report: Report) -> None:
    assert read_report(text) == report


@pytest.mark.parametrize("text", ["got", "got x", "got 1 2", "had 1", "want 1", "got -1", "got 1\n" * 5000])
def test_reports_that_are_refused(text: str) -> None:
    with pytest.raises(WireError):
        read_report(text)


@given(st.text())
def test_any_text_is_understood_or_a_wire_error(text: str) -> None:
    for read in (read_offer, read_report):
        try:
            read(text)
        except WireError:
            continue


ANSWERS = {
    "from a neighbour and from the origin": (
        (Order(3, f"http://10.0.0.7:8089/{PATH}"), Order(4, None)),
        f"get 3 http://10.0.0.7:8089/{PATH}/3\nget 4 -\n",
    ),
    "later": (Wait(0.25), "wait 0.25\n"),
    "no more": (Done(), "done\n"),
}


@pytest.mark.parametrize(("answer", "text"), ANSWERS.values(), ids=ANSWERS.keys())
def test_answers(answer: tuple[Order, ...] | Wait | Done, text: str) -> None:
    assert write_answer(answer) == text


def test_a_neighbour_is_where_we_see_it() -> None:
    offer = Offer(8089, PATH, frozenset())
    assert offer.url("10.0.0.7") == f"http://10.0.0.7:8089/{PATH}"
    assert offer.url("fd77::7") == f"http://[fd77::7]:8089/{PATH}"
