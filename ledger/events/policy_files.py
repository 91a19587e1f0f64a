"""Policies as TOML: what people write and read; what is recorded is the `Policy` itself.

`read_policy(toml_of(policy))` is the policy again. A gate's suite is the name of a suite file, looked for beside the
policy's; its bytes are to be kept as a blob before the policy is recorded. In TOML that was written from a ledger it is
a table instead, with the suite's name, digest and blob.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from errata.ledger.base.canonical import SAFE_INTEGER, digest
from errata.ledger.base.digests import BLOB_DOMAIN
from errata.ledger.base.errors import BadRecord
from errata.ledger.base.json_files import read_bytes, read_text
from errata.ledger.events.policy import BreakGlass, Gate, Policy, Requirement, SuiteRef
from errata.ledger.facts.suites import parse_suite, suite_digest

_KNOWN = sorted({name for record in (Policy, Requirement, Gate, BreakGlass, SuiteRef) for name in record.model_fields})
_SPANS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


@dataclass(frozen=True)
class PolicyFile:
    """A policy that was read, and what it needs.

    Attributes:
        policy: the policy.
        suites: digest of a blob -> the bytes of a suite file, for suites that were named by their files.
    """

    policy: Policy
    suites: Mapping[str, bytes] = field(default_factory=dict)


def read_policy_file(path: Path) -> PolicyFile:
    """Read a policy and the suites that its gates name.

    Raises:
        BadRecord: what is wrong: of each bad value, its place in the file.
        StorageFailed: a file cannot be read.
    """
    return read_policy(read_text(path), str(path), path.parent)


def read_policy(text: str, where: str, folder: Path) -> PolicyFile:
    """Read a policy from TOML.

    Args:
        text: the TOML.
        where: what the file is called in complaints.
        folder: where suite files are looked for.

    Raises:
        BadRecord, StorageFailed: as `read_policy_file`.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadRecord(where, f"not TOML ({error})") from None
    if large := [place for place, value in _leaves(document) if _too_large(value)]:
        raise BadRecord(where, f"{large[0]}: a whole number beyond {SAFE_INTEGER:,} cannot be recorded")
    suites: dict[str, bytes] = {}
    _resolve_suites(document, where, folder, suites)
    try:
        return PolicyFile(Policy.model_validate(_tuples(document)), suites)
    except ValidationError as error:
        raise BadRecord(where, "; ".join(_told(found) for found in error.errors(include_url=False))) from None


def toml_of(policy: Policy) -> str:
    """A policy as TOML, every field of it; what is None is left out, and reads back as that."""
    lines = ["# What this ledger asks of those who change it; `errata policy check` tells what a file would mean.", ""]
    tables: list[str] = []
    for name, value in policy.plain().items():
        match name, value:
            case "roles", dict():
                tables += _table("roles", value)
            case (("risks" | "actions"), dict()):
                for key, requirement in value.items():
                    tables += _table(f"{name}.{_key(key)}", requirement)
            case "gates", list() as gates if gates:
                for gate in gates:
                    tables += ["", "[[gates]]", *_pairs(gate)]
            case _, dict():
                tables += _table(name, value)
            case _:
                lines += _pairs({name: value})
    return "\n".join([*lines, *tables, ""])


def span(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, name in _SPANS:
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count:,} {name}{'' if count == 1 else 's'}"
    return f"{seconds:,g} s"


def roughly(seconds: float) -> str:
    """A length of time that was measured: days where it is more than two, else minutes, else seconds."""
    unit = next((unit for unit in (86_400, 60) if seconds > 2 * unit), 1)
    return span(unit * round(seconds / unit))


def _resolve_suites(document: dict[str, Any], where: str, folder: Path, suites: dict[str, bytes]) -> None:
    """Put a reference where a gate names a suite's file."""
    gates = document.get("gates")
    for place, gate in enumerate(gates if isinstance(gates, list) else []):
        if not isinstance(gate, dict) or not isinstance(named := gate.get("suite"), str):
            continue
        path = folder / named
        try:
            data = read_bytes(path)
            suite = parse_suite(data, str(path))
        except (BadRecord, ValueError) as error:
            raise BadRecord(where, f"gates[{place}].suite: {error}") from None
        kept = digest(BLOB_DOMAIN, data)
        suites[kept] = data
        gate["suite"] = {"name": suite.name, "digest": suite_digest(suite), "blob": kept}


def _told(found: ErrorDetails) -> str:
    """One finding: its place, and what is wrong there."""
    steps = [step for step in found["loc"] if step != "[key]"]
    what = found["msg"].removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(steps[-1]), _KNOWN, n=1)
        what = "there is no such field" + (f"; did you mean {near[0]!r}?" if near else "")
    elif found["type"] == "missing":
        what = "is missing"
    elif isinstance(found["input"], str | int | float):
        what = f"{found['input']!r}: {what[:1].lower()}{what[1:]}"
    return f"{_place(steps)}: {what}" if steps else what


def _place(steps: Sequence[object]) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{_key(str(step))}" for step in steps)
    return place.removeprefix(".")


def _leaves(value: object, steps: tuple[object, ...] = ()) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*steps, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(inner, (*steps, place))
    else:
        yield _place(steps), value


def _too_large(value: object) -> bool:
    return isinstance(value, int) and abs(value) > SAFE_INTEGER


def _tuples(value: object) -> object:
    """TOML's arrays as tuples, which is what records hold."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(inner) for inner in value)
    return value


def _table(name: str, fields: dict[str, Any]) -> list[str]:
    return ["", f"[{name}]", *_pairs(fields)]


def _pairs(fields: dict[str, Any]) -> list[str]:
    return [
        f"{_key(name)} = {_value(value)}{_remark(name, value)}" for name, value in fields.items() if value is not None
    ]


def _remark(name: str, value: object) -> str:
    return f"  # {span(value)}" if name.endswith("_seconds") and isinstance(value, int | float) else ""


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(name)} = {_value(inner)}' for name, inner in value.items())} }}"
    return _string(str(value))


def _key(name: str) -> str:
    """A key, bare where TOML lets it be: A-Z, a-z, 0-9, _ and -."""
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare or (name and not name.strip("_-")) and name.isascii() else _string(name)


def _string(text: str) -> str:
    """A basic string (TOML 1.0): quote, backslash and control characters are escaped."""
    parts = (f"\\{c}" if c in '"\\' else f"\\u{ord(c):04X}" if ord(c) < 0x20 or ord(c) == 0x7F else c for c in text)
    return f'"{"".join(parts)}"'
