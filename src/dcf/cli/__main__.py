"""``python -m dcf.cli``: the same as ``dcf-cli``."""

from dcf.cli.main import main

if __name__ == "__main__":
    main()
