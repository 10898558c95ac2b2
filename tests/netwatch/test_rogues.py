"""When a DHCP server is a rogue one, still there, and gone."""

from __future__ import annotations

import pytest

from provisioner.netwatch.rogues import GONE_AFTER, MOST, QUIET_S, How, Rogue, Rogues, Sighting

NOW = 1000.0
OFFER = Sighting("eth0", "10.0.0.66", How.OFFER, "52:54:00:00:00:66", asked=True)
HEARD = OFFER._replace(asked=False)


def only(rogues: Rogues) -> Rogue:
    (found,) = rogues
    return found


def test_a_server_is_new_once() -> None:
    rogues = Rogues()
    new = rogues.seen(OFFER, NOW)
    assert new == Rogue("eth0", "10.0.0.66", How.OFFER, NOW, NOW, "52:54:00:00:00:66", answers=True, gives=True)
    assert rogues.seen(OFFER, NOW + 5) is None
    assert (only(rogues).first, only(rogues).last) == (NOW, NOW + 5)


def test_the_same_server_on_two_wires_is_two() -> None:
    rogues = Rogues()
    assert rogues.seen(OFFER, NOW)
    assert rogues.seen(OFFER._replace(place="eth1"), NOW)


def test_only_an_address_that_we_were_offered_makes_it_one_that_gives_addresses() -> None:
    rogues = Rogues()
    rogues.seen(HEARD, NOW)
    assert (only(rogues).answers, only(rogues).gives) == (False, False)
    rogues.seen(OFFER._replace(how=How.BOOT), NOW)
    assert (only(rogues).answers, only(rogues).gives) == (True, False)
    rogues.seen(OFFER, NOW)
    assert only(rogues).gives


def test_one_that_leaves_our_questions_unanswered_is_gone() -> None:
    rogues = Rogues()
    rogues.seen(OFFER, NOW)
    for _ in range(GONE_AFTER):
        rogues.asked("eth0")
        rogues.asked("eth1")
        assert rogues.gone(NOW) == []
    rogues.asked("eth0")
    assert [rogue.server for rogue in rogues.gone(NOW)] == ["10.0.0.66"]
    assert list(rogues) == []
    assert rogues.seen(OFFER, NOW), "it came back: new again"


def test_an_answer_starts_the_count_anew_and_talk_to_others_does_not() -> None:
    rogues = Rogues()
    rogues.seen(OFFER, NOW)
    for _ in range(GONE_AFTER):
        rogues.asked("eth0")
    rogues.seen(HEARD, NOW)
    assert only(rogues).missed == GONE_AFTER
    rogues.seen(OFFER, NOW)
    assert only(rogues).missed == 0


def test_one_that_was_only_heard_of_is_gone_when_it_was_quiet_for_long() -> None:
    rogues = Rogues()
    rogues.seen(Sighting("rack1", "10.9.0.1", How.CHOSEN), NOW)
    for _ in range(2 * GONE_AFTER):
        rogues.asked("rack1")
    assert rogues.gone(NOW + QUIET_S) == []
    assert [rogue.server for rogue in rogues.gone(NOW + QUIET_S + 1)] == ["10.9.0.1"]


SIX = Sighting("eth0", "fd00::66", How.OFFER6, "52:54:00:00:00:66", asked=True, duid=b"\0\3\0\1rogue!")


def test_a_dhcpv6_server_that_answers_from_another_address_is_the_same() -> None:
    """RFC 8415 section 11: it is its DUID. One that has just started answers from whichever address may be used."""
    rogues = Rogues()
    assert rogues.seen(SIX, NOW)
    for _ in range(2 * GONE_AFTER):
        rogues.asked("eth0", six=True)
        assert rogues.seen(SIX._replace(server="fe80::66"), NOW + 1) is None
    assert rogues.gone(NOW + 1) == []
    assert (only(rogues).server, only(rogues).last) == ("fe80::66", NOW + 1), "whom to allow, as it answers now"
    assert rogues.seen(SIX._replace(duid=b"\0\3\0\1other!"), NOW), "two on one host are two"
    assert rogues.seen(SIX._replace(how=How.ROUTER, asked=False, duid=b""), NOW), "its advertisements are told of, too"
    for _ in range(GONE_AFTER + 1):
        rogues.asked("eth0", six=True)
    assert [rogue.duid[4:] for rogue in rogues.gone(NOW + 1)] == [b"rogue!", b"other!"]
    assert only(rogues).how is How.ROUTER


def made_up(like: Sighting, count: int = MOST) -> list[Sighting]:
    return [like._replace(server=f"10.0.9.{number}") for number in range(count)]


CHOSEN = Sighting("eth0", "10.0.0.66", How.CHOSEN)
BOOTS = OFFER._replace(how=How.BOOT)
FULL = {
    "one that gives us an address is told beside any number that machines named": (CHOSEN, OFFER, True),
    "one that is heard is told beside any number that machines named": (CHOSEN, HEARD, True),
    "one more that a machine names is not": (CHOSEN, CHOSEN, False),
    "one that answers us is told beside any number that are heard": (HEARD, BOOTS, True),
    "one that a machine names is not told where the place is full of heard ones": (HEARD, CHOSEN, False),
    "one that gives addresses is told beside any number of proxies": (BOOTS, OFFER, True),
    "one more that gives addresses is not": (OFFER, OFFER, False),
    "one at another place is told": (OFFER, CHOSEN._replace(place="rack1"), True),
}


@pytest.mark.parametrize(("many", "one", "told"), FULL.values(), ids=FULL.keys())
def test_a_place_is_bounded_and_hides_nothing_that_is_more_certain(many: Sighting, one: Sighting, told: bool) -> None:
    rogues = Rogues()
    for number, each in enumerate(made_up(many)):
        assert rogues.seen(each, NOW + number)
    found = rogues.seen(one, NOW + MOST)
    assert (found is not None) == told
    assert len([rogue for rogue in rogues if rogue.place == "eth0"]) == MOST
    given_up = ["10.0.9.0"] if told and one.place == "eth0" else []
    assert [rogue.server for rogue in rogues.gone(NOW + MOST)] == given_up
    assert rogues.gone(NOW + MOST) == []


def test_one_that_a_machine_named_and_that_is_then_heard_is_not_new_but_certain() -> None:
    rogues = Rogues()
    assert rogues.seen(CHOSEN, NOW)
    assert rogues.seen(HEARD, NOW + 1) is None
    assert only(rogues).how is How.OFFER
    for each in made_up(HEARD):
        rogues.seen(each, NOW + 2)
    assert "10.0.0.66" in {rogue.server for rogue in rogues}
