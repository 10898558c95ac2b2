"""Baseboard management controllers: the verbs they offer, and the drivers that speak to them."""
