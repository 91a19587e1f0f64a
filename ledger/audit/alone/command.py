"""Check an Errata audit bundle by itself: without Errata, its ledger or any model.

    python verify_bundle.py BUNDLE [--manifest-digest DIGEST] [--checkpoint FILE] [--json]

Needs Python 3.11 and nothing else. The packages blake3 and cryptography make it faster where they are installed, and
with pyarrow it also reads the Parquet file. It checks, in order: (1) the manifest names every file and no other, with
size and digests; (2) every event is canonical JSON (RFC 8785), has the hash that is claimed, and follows the one
before; (3) the events are leaves of the Merkle tree (RFC 6962) whose root the checkpoint states; (4) every signature is
of a key that was valid at its place in the log, and every change set that was applied had the approvals that the policy
in force asked for; (5) all tables are what the events say, derived again. It lists all findings. Exit code 0: nothing
is wrong; 1: something is; 5: this is no bundle at all.

Whoever can write the whole folder can make another bundle that agrees with itself. What tells them apart comes from
outside: the manifest's digest (--manifest-digest), a checkpoint that was kept elsewhere (--checkpoint), or the key that
signed the manifest.

In this file: canonical JSON, hashes and signatures; hashes and signatures once more, without packages; the Merkle
tree; tables; what the log says of keys, roles, policies and changes; the master copy; the checks; the command.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from errata.ledger.audit.alone.checks import NoBundle, examine
from errata.ledger.audit.alone.encoding import Json


def main() -> int:
    """Check the bundle that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(description="Check an Errata audit bundle.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--manifest-digest", help="what the manifest's digest must be: blake3:... or sha256:...")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint of the log that was kept elsewhere")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    if given.checkpoint is not None and not given.checkpoint.is_file():
        parser.error(shown(f"{given.checkpoint} is not a file"))
    try:
        report = examine(given.bundle, given.manifest_digest, given.checkpoint, Path(__file__).read_bytes())
    except NoBundle as error:
        sys.stderr.write(shown(f"{given.bundle}: {error}") + "\n")
        return 5
    sys.stdout.write((json.dumps(report, indent=2) if given.json else words(report)) + "\n")
    return 0 if report["sound"] else 1


def shown(text: str) -> str:
    """Text as one line of ASCII: nothing that a bundle says is obeyed by a terminal or looks like a line of ours."""
    return "".join(c if " " <= c <= "~" else json.dumps(c)[1:-1] for c in text)


def words(report: Json) -> str:
    """A report for people."""
    report = {**report, **{name: shown(str(report[name])) for name in ("root", "signer") if report[name] is not None}}
    lines = [shown(f"{one['severity']:<5}  {one['where']}: {one['what']}") for one in report["findings"]]
    wrong = sum(one["severity"] == "error" for one in report["findings"])
    lines.append(f"manifest   {report['manifest'][0]}\n           {report['manifest'][1]}")
    lines.append(f"range      @{report['from']} to @{report['to']}, {report['events']} events, {report['edits']} edits")
    lines.append(f"tree root  {report['root']}\nsigned     by {report['signer'] or 'nobody'}")
    lines.append("sound: nothing is wrong" if report["sound"] else f"NOT SOUND: {wrong} findings")
    return "\n".join(lines)
