"""What lies outside the program: the clock, identifiers, the environment, devices, folders and standard streams.

Command line (`cli.py`) and Python door (`door/`) take it from here, so both have the same defaults. Nothing else
in Errata looks for any of it.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import click

from errata import __version__
from errata.commands.app import World
from errata.ledger.base.errors import UsageError


def here() -> World:
    """The world as this process finds it."""
    return World(
        folder=Path.cwd(),
        environment=dict(os.environ),
        actor=user(),
        now=now,
        new_id=lambda: str(uuid.uuid4()),
        seconds=time.monotonic,
        peak_memory=peak_memory,
        prepare_torch=prepare_torch,
        software=software,
        configuration=configuration,
        read_stdin=lambda: sys.stdin.buffer.read(),
        ask_secret=ask_secret,
        out=sys.stdout,
        err=sys.stderr,
    )


def user() -> str:
    """Who is logged in; "unknown" where the system does not say."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


def configuration() -> Path:
    """`$ERRATA_CONFIG`, else the user's own folder for configuration, as the platform has it."""
    if own := os.environ.get("ERRATA_CONFIG"):
        return Path(own)
    import platformdirs

    folder = platformdirs.user_config_path("errata", appauthor=False)
    if not folder.is_absolute():
        raise UsageError(f"{folder} cannot hold keys: it is not an absolute path; ERRATA_CONFIG names another")
    return folder


def ask_secret(what: str) -> str | None:
    """What is typed on the terminal, unseen; None where there is no terminal."""
    if not sys.stdin.isatty():
        return None
    import getpass

    try:
        return getpass.getpass(f"{what}: ", stream=sys.stderr)
    except EOFError:
        raise click.Abort from None


def now() -> str:
    """The time, RFC 3339 in UTC with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def peak_memory(device: str) -> int:
    """The process's peak memory in bytes, on a device."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def prepare_torch(device: str, threads: int | None) -> str:
    """Set the number of threads, unless it is None, and see that a device is there.

    Raises:
        UsageError: it is not.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    try:
        chosen = torch.device(device)
        if torch.zeros(1, device=chosen).sum().item() != 0:
            raise RuntimeError("it does not compute")
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device!r} is not available: {str(error).splitlines()[0]}") from None
    return str(chosen)


def software() -> dict[str, str]:
    """Versions of what takes part in an edit."""
    from importlib import metadata

    found = {"python": ".".join(map(str, sys.version_info[:3])), "errata": __version__}
    for name in ("torch", "transformers", "numpy", "safetensors"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
