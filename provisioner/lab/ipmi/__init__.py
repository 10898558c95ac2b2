"""The lab's IPMI 2.0 controller: RMCP+ over UDP, KCS for the guest, serial over LAN (IPMI v2.0 revision 1.1)."""
