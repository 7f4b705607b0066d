"""``python -m convsurgeon``."""

from convsurgeon.cli import main

if __name__ == "__main__":
    main()
