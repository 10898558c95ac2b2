"""Power verbs in order, and the one-shot rule of the boot override."""

from __future__ import annotations

import pytest

from provisioner.errors import LabError
from provisioner.lab.chassis import PENDING, Chassis, Lifetime, Mode, Override, Verb
from provisioner.lab.hardware import OWN_ORDER, BootChoice
from provisioner.model.bmc import BootTarget, Power
from tests.lab.boards import Rig, running

PXE = BootChoice(BootTarget.PXE)
HTTP = BootChoice(BootTarget.HTTP, "http://10.77.0.1/x.efi")
ONCE = Override(PXE, Lifetime.ONCE, Mode.UEFI)
ALWAYS = Override(PXE, Lifetime.CONTINUOUS)

OVERRIDES = {
    "a one-shot is spent by the boot that used it": (ONCE, PXE, Override(mode=Mode.UEFI)),
    "a one-shot that came while another boot began stays": (ONCE, OWN_ORDER, ONCE),
    "a continuous one stays": (ALWAYS, PXE, ALWAYS),
    "one that is disabled stays": (Override(), OWN_ORDER, Override()),
}


@pytest.mark.parametrize(("before", "tried", "after"), OVERRIDES.values(), ids=OVERRIDES.keys())
def test_after_boot(before: Override, tried: BootChoice, after: Override) -> None:
    assert before.after_boot(tried) == after


def test_a_disabled_override_means_the_own_order() -> None:
    assert Override(PXE, Lifetime.DISABLED).next_boot() == OWN_ORDER


JOURNEYS: dict[str, tuple[list[Override | Verb | str], list[BootTarget], Power]] = {
    "no override: own order": ([Verb.ON], [BootTarget.NONE], Power.ON),
    "on when on does nothing": ([Verb.ON, Verb.ON], [BootTarget.NONE], Power.ON),
    "once, then a reset": ([ONCE, Verb.ON, Verb.RESET], [BootTarget.PXE, BootTarget.NONE], Power.ON),
    "once, then the guest restarts": ([ONCE, Verb.ON, "guest"], [BootTarget.PXE, BootTarget.NONE], Power.ON),
    "once is used by the guest's own restart": (
        [Verb.ON, ONCE, "guest", "guest"],
        [BootTarget.NONE, BootTarget.PXE, BootTarget.NONE],
        Power.ON,
    ),
    "once survives a power-off": ([ONCE, Verb.OFF, Verb.ON], [BootTarget.PXE], Power.ON),
    "continuous holds until it is taken back": (
        [ALWAYS, Verb.ON, Verb.CYCLE, Override(), Verb.RESET],
        [BootTarget.PXE, BootTarget.PXE, BootTarget.NONE],
        Power.ON,
    ),
    "a URI goes with the target": ([Override(HTTP, Lifetime.ONCE), Verb.ON], [BootTarget.HTTP], Power.ON),
    "cycle ends on": ([Verb.ON, Verb.CYCLE], [BootTarget.NONE, BootTarget.NONE], Power.ON),
    "soft off": ([Verb.ON, Verb.SOFT_OFF], [BootTarget.NONE], Power.OFF),
    "soft off when off does nothing": ([Verb.SOFT_OFF], [], Power.OFF),
}


@pytest.mark.parametrize(("steps", "targets", "power"), JOURNEYS.values(), ids=JOURNEYS.keys())
async def test_journeys(steps: list[Override | Verb | str], targets: list[BootTarget], power: Power) -> None:
    async with running(Rig()) as rig:
        for step in steps:
            match step:
                case Override():
                    rig.chassis.set_override(step)
                case Verb():
                    rig.chassis.request(step)
                case _:
                    rig.machine.guest_restarts()
            await rig.settle()
        assert [boot.target for boot in rig.boots] == targets
        assert rig.chassis.power is power


async def test_a_guest_that_powers_off_is_observed_off() -> None:
    async with running(Rig()) as rig:
        rig.chassis.request(Verb.ON)
        await rig.settle()
        rig.machine.guest_powers_off()
        assert rig.chassis.power is Power.OFF


REFUSED = {Verb.CYCLE: True, Verb.RESET: True, Verb.NMI: True, Verb.ON: False, Verb.OFF: False, Verb.SOFT_OFF: False}


@pytest.mark.parametrize(("verb", "refused"), REFUSED.items(), ids=REFUSED.keys())
def test_what_makes_no_sense_while_off(verb: Verb, refused: bool) -> None:
    assert Rig().chassis.refuses(verb) is refused


def test_a_verb_behind_another_is_judged_when_its_turn_comes() -> None:
    rig = Rig()
    rig.chassis.request(Verb.ON)
    assert not rig.chassis.refuses(Verb.RESET)


def test_busy_when_too_much_waits() -> None:
    rig = Rig()
    for _ in range(PENDING):
        assert not rig.chassis.is_busy
        rig.chassis.request(Verb.ON)
    assert rig.chassis.is_busy


async def test_what_fails_is_noted_and_the_next_verb_is_done() -> None:
    class Broken(Rig):
        def __post_init__(self) -> None:
            super().__post_init__()

            async def fails() -> None:
                raise LabError("the power supply smokes")

            self.machine.power_on = fails  # type: ignore[method-assign]

    async with running(Broken()) as rig:
        rig.chassis.request(Verb.ON)
        rig.chassis.request(Verb.OFF)
        await rig.settle()
        assert [event.what for event in rig.chassis.events] == ["power on", "failed: on", "power off"]


async def test_nmi_reaches_the_guest() -> None:
    async with running(Rig()) as rig:
        rig.chassis.request(Verb.ON)
        rig.chassis.request(Verb.NMI)
        await rig.settle()
        assert rig.machine.interrupts == 1


def test_the_event_log_is_circular() -> None:
    chassis: Chassis = Rig().chassis
    for number in range(600):
        chassis.note(f"power {number}")
    assert (len(chassis.events), chassis.events[0].number, chassis.events[-1].number) == (512, 89, 600)
