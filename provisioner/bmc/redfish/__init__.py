"""Redfish: DMTF's asynchronous client as the transport, our own resource layer and semantics above it."""
