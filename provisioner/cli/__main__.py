"""`python -m provisioner.cli` is `provisionctl`."""

from provisioner.cli import main

main()
