"""Nouns: frozen values that everything else passes around. Imports nothing of ours but `errors`; no I/O."""
