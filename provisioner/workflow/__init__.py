"""Workflows: steps that operators write as data, planned for each machine, carried through anything."""
