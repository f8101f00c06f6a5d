"""`python -m ntire_sr`, the same as the `ntire-sr` command."""

import sys

try:
    from ntire_sr.commands.cli import main
except ModuleNotFoundError as error:
    if error.name not in ("ntire_sr", "click"):
        raise
    sys.exit("ntire-sr is not installed; run: pip install .   (or: make demo)")

if __name__ == "__main__":
    main()
