"""`python -m errata` is the command `errata`."""

from errata.cli import entry

if __name__ == "__main__":
    entry()
