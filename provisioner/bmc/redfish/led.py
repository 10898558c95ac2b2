"""The light that shows which machine it is (DSP0268: LocationIndicatorActive, and IndicatorLED before it)."""

from __future__ import annotations

from provisioner.bmc.redfish.answers import Resource
from provisioner.bmc.redfish.board import Board
from provisioner.errors import BmcProtocolError
from provisioner.model.board import Led

NEW, OLD = "LocationIndicatorActive", "IndicatorLED"
_WORDS = {Led.OFF: "Off", Led.ON: "Lit", Led.BLINKING: "Blinking"}
_LEDS = {word: led for led, word in _WORDS.items()}


class LedVerbs(Board):
    """Find the machine in its rack."""

    async def led(self) -> Led:
        """Read the light."""
        holder = await self._holder("led.status")
        if NEW in holder.data:
            return Led.BLINKING if holder.data[NEW] is True else Led.OFF
        return _LEDS.get(holder.text(OLD), Led.OFF)

    async def set_led(self, wanted: Led) -> None:
        """Set the light, and read it back. Boards with one kind of light show it for both on and blinking."""
        holder = await self._holder("led.set")
        lit = wanted is not Led.OFF
        await self.patch(holder, {NEW: lit} if NEW in holder.data else {OLD: _WORDS[wanted]})
        if (await self.led() is not Led.OFF) is not lit:
            raise BmcProtocolError(f"{self.address}: led.set: taken, but the light is not {wanted}")

    async def _holder(self, verb: str) -> Resource:
        for holder in (await self.system(), await self.chassis(verb)):
            if NEW in holder.data or holder.text(OLD) in _LEDS:
                return holder
        raise self.unsupported(verb, "neither system nor chassis has a light")
