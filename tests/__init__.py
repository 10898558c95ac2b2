"""Tests: they mirror `provisioner/`, one file for each module."""
