"""Options are granted at a value that makes sense, or left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.tftp.options import Agreed, Limits, negotiate
from provisioner.tftp.packet import Mode, Options, Request

SIZE = 1_000_000

CASES: dict[str, tuple[Options, Agreed]] = {
    "nothing asked, nothing said": ((), Agreed()),
    "what GRUB asks": (
        (("blksize", "1024"), ("tsize", "0")),
        Agreed(1024, 1, None, (("blksize", "1024"), ("tsize", "1000000"))),
    ),
    "a block is cut to what the link carries": ((("blksize", "65464"),), Agreed(1468, 1, None, (("blksize", "1468"),))),
    "the smallest block": ((("blksize", "8"),), Agreed(8, 1, None, (("blksize", "8"),))),
    "a block below it is not granted": ((("blksize", "7"),), Agreed()),
    "a window is cut to ours": ((("windowsize", "65535"),), Agreed(512, 64, None, (("windowsize", "64"),))),
    "no window": ((("windowsize", "0"),), Agreed()),
    "a timeout": ((("timeout", "3"),), Agreed(512, 1, 3.0, (("timeout", "3"),))),
    "a timeout that would hold a place too long": ((("timeout", "31"),), Agreed()),
    "400 digits (C-T3)": ((("blksize", "9" * 400), ("timeout", "9" * 400), ("tsize", "9" * 400)), Agreed()),
    "negative": ((("blksize", "-1"), ("windowsize", "-4"), ("timeout", "-1")), Agreed()),
    "text (C-T8)": ((("blksize", "abc"), ("tsize", ""), ("timeout", " 1"), ("windowsize", "4\n")), Agreed()),
    "digits of another script": ((("blksize", "\u0661\u0662\u0663\u0664"), ("windowsize", "\xb2")), Agreed()),
    "twice: the first counts": (
        (("blksize", "1024"), ("blksize", "9")),
        Agreed(1024, 1, None, (("blksize", "1024"),)),
    ),
    "unknown ones are left out": ((("multicast", ""), ("utimeout", "1000000"), ("rollover", "0")), Agreed()),
}


@pytest.mark.parametrize(("options", "agreed"), CASES.values(), ids=CASES.keys())
def test_negotiate(options: Options, agreed: Agreed) -> None:
    assert negotiate(Request("a", Mode.OCTET, options), SIZE, Limits()) == agreed


def test_ipv6_leaves_less_room() -> None:
    request = Request("a", Mode.OCTET, (("blksize", "1468"),))
    assert negotiate(request, SIZE, Limits(), ip_header=40).blksize == 1448


values = st.one_of(st.integers(-10, 10**12).map(str), st.text(max_size=20))


@given(st.lists(st.tuples(st.sampled_from(["blksize", "windowsize", "timeout", "tsize", "x"]), values)))
def test_whatever_is_asked_stays_in_bounds(options: list[tuple[str, str]]) -> None:
    agreed = negotiate(Request("a", Mode.OCTET, tuple(options)), SIZE, Limits())
    assert 8 <= agreed.blksize <= 1468
    assert 1 <= agreed.windowsize <= 64
    assert agreed.timeout_s is None or 1 <= agreed.timeout_s <= 30
