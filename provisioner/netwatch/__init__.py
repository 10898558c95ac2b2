"""What is on the wires beside our own packets: who uses an address, and who else serves DHCP."""
