"""The lab's Redfish service, one per simulated BMC (DSP0266 1.20, DSP2046)."""
