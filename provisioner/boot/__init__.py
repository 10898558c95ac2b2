"""Boot decisions: what a machine is told to load, and the text of its boot script."""
