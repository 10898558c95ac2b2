"""DHCP for the boot network: codecs and rules (pure), link and server (I/O)."""
