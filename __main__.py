"""`python -m errata` is the command `errata`, and the command starts here."""

import signal


def start() -> None:
    """Run the command. Whoever interrupts while its modules load ends the process, without a stack trace."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from errata.cli import entry

    entry()


if __name__ == "__main__":
    start()
