"""Which part of the content a request asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.web.ranges import Part, select

ETAG = "abc"
ALL = Part(200, 0, 1000)

CASES: dict[str, tuple[dict[str, str], Part]] = {
    "no header: all of it": ({}, ALL),
    "a range": ({"Range": "bytes=0-99"}, Part(206, 0, 100)),
    "one octet": ({"Range": "bytes=999-999"}, Part(206, 999, 1)),
    "to the end, as a download goes on": ({"Range": "bytes=400-"}, Part(206, 400, 600)),
    "the last octets": ({"Range": "bytes=-10"}, Part(206, 990, 10)),
    "more than there is from the end": ({"Range": "bytes=-5000"}, Part(206, 0, 1000)),
    "past the end is cut": ({"Range": "bytes=900-5000"}, Part(206, 900, 100)),
    "behind the end": ({"Range": "bytes=1000-"}, Part(416)),
    "none from the end": ({"Range": "bytes=-0"}, Part(416)),
    "backwards is malformed": ({"Range": "bytes=9-3"}, ALL),
    "several at once: all of it": ({"Range": "bytes=0-1,5-6"}, ALL),
    "another unit": ({"Range": "lines=0-1"}, ALL),
    "nonsense": ({"Range": "bytes=abc"}, ALL),
    "no numbers": ({"Range": "bytes=-"}, ALL),
    "400 digits": ({"Range": f"bytes={'9' * 400}-"}, ALL),
    "If-Range with our ETag": ({"Range": "bytes=5-", "If-Range": '"abc"'}, Part(206, 5, 995)),
    "If-Range with an older one": ({"Range": "bytes=5-", "If-Range": '"old"'}, ALL),
    "If-Range with a date": ({"Range": "bytes=5-", "If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"}, ALL),
    "If-Range with a weak ETag": ({"Range": "bytes=5-", "If-Range": 'W/"abc"'}, ALL),
    "If-None-Match": ({"If-None-Match": '"x", "abc"'}, Part(304)),
    "If-None-Match, weak": ({"If-None-Match": 'W/"abc"'}, Part(304)),
    "If-None-Match with others": ({"If-None-Match": '"x"'}, ALL),
    "If-None-Match: any": ({"If-None-Match": "*"}, Part(304)),
    "If-Match": ({"If-Match": '"abc"'}, ALL),
    "If-Match with another": ({"If-Match": '"x"'}, Part(412)),
    "If-Match, weak": ({"If-Match": 'W/"abc"'}, Part(412)),
}


@pytest.mark.parametrize(("headers", "part"), CASES.values(), ids=CASES.keys())
def test_select(headers: dict[str, str], part: Part) -> None:
    assert select("GET", headers, ETAG, 1000) == part
    head = ALL if part.status in (206, 416) else part
    assert select("HEAD", headers, ETAG, 1000) == head, "a HEAD knows no ranges"


def test_an_empty_file_has_no_ranges() -> None:
    assert select("GET", {"Range": "bytes=0-"}, ETAG, 0) == Part(416)
    assert select("GET", {}, ETAG, 0) == Part(200)


@given(st.text(max_size=40), st.integers(0, 2000))
def test_any_header_stays_inside_the_file(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        part = select("GET", {"Range": header}, ETAG, size)
        assert 0 <= part.offset <= part.offset + part.length <= size
