"""`python -m errata` is the command `errata`, and the command starts here."""

import signal

if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever interrupts while modules load ends the process, and no more

from errata.cli import entry  # noqa: E402

if __name__ == "__main__":
    entry()
