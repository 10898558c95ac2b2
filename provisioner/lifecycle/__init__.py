"""The life of a machine: rules as tables (`states`, `steps`), and the one place that carries them out (`conductor`)."""
