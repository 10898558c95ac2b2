"""Bootenvs and templates: load, render, validate, check."""
