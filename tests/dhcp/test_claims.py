"""Whose address is whose, where another server gives them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provisioner.dhcp.claims import Claims

A, B, C = b"aaaaaa", b"bbbbbb", b"cccccc"


def test_the_latest_word_counts() -> None:
    claims = Claims()
    claims.put(1, A)
    claims.put(2, B)
    assert (claims.get(1), claims.get(2), claims.get(3)) == (A, B, None)
    claims.put(1, B)
    assert (claims.get(1), claims.get(2)) == (B, None), "a machine has one address, and an address one machine"
    claims.put(3, A)
    assert (claims.get(1), claims.get(3)) == (B, A)


def test_an_address_that_is_given_back_is_nobodys() -> None:
    claims = Claims()
    claims.put(1, A)
    claims.drop(B)
    assert claims.get(1) == A
    claims.drop(A)
    assert claims.get(1) is None


def test_no_address_is_no_claim() -> None:
    claims = Claims()
    claims.put(1, A)
    claims.put(0, A)
    assert (claims.get(0), claims.get(1)) == (None, A)


def test_they_are_bounded_and_the_one_claimed_longest_ago_goes_first() -> None:
    claims = Claims(limit=2)
    for ip, key in ((1, A), (2, B), (1, A), (3, C)):
        claims.put(ip, key)
    assert [claims.get(ip) for ip in (1, 2, 3)] == [A, None, C]


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from((A, B, C)), st.booleans())))
def test_no_machine_ever_has_two_addresses(steps: list[tuple[int, bytes, bool]]) -> None:
    claims = Claims(limit=3)
    for ip, key, gives_back in steps:
        if gives_back:
            claims.drop(key)
        else:
            claims.put(ip, key)
            assert claims.get(ip) == key
        holders = [holder for ip in range(6) if (holder := claims.get(ip)) is not None]
        assert len(holders) == len(set(holders)) <= 3
