"""The command `countermand`: every verb of the service, from a shell."""

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command and answer its exit code; see `countermand.cli.exit_codes`."""
    try:
        from countermand.cli.app import run
    except ModuleNotFoundError as missing:
        if missing.name not in ("typer", "rich"):
            raise
        print("countermand: the command line is an extra: pip install 'countermand[cli]'", file=sys.stderr)
        return 1
    return run(sys.argv[1:] if arguments is None else arguments)
