"""Faults on real wires: a daemon with its sockets, boards that misbehave, and machines that stop on their way."""
