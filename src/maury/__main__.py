"""`python -m maury`: the same as the command `maury`."""

from maury.cli.app import main

if __name__ == "__main__":
    main()
