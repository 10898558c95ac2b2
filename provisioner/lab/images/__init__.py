"""Builds disk images of operating systems from their packages, bootable by BIOS and UEFI alike."""
