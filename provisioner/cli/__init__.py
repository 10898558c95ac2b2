"""`provisionctl`: what operators type. Talks to the daemon over its socket; imports neither aiohttp nor the daemon."""


def main() -> None:
    """Run a command and exit with its status."""
    from provisioner.cli.root import run

    raise SystemExit(run())
