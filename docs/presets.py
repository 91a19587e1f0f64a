"""Write the tables of ``docs/governance.md`` from the policies themselves: ``python docs/presets.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from errata.ledger.events.policy import PRESETS, Capability
from errata.ledger.events.words import gate_words, policy_rows

PAGE = Path(__file__).resolve().parent / "governance.md"
BEGIN, END = "<!-- presets, written by docs/presets.py -->\n", "<!-- end of presets -->"


def tables() -> str:
    """The presets as Markdown: what they ask, what roles may do, what gates let through."""
    policies = list(PRESETS.values())
    risks = list(dict.fromkeys(risk for policy in policies[::-1] for risk in policy.risks))
    columns = [dict(policy_rows(policy, risks)) for policy in policies]
    asks = [(name, *(column[name] for column in columns)) for name in columns[0]]
    roles = list(dict.fromkeys(role for policy in policies for role in policy.roles))
    may = [
        (role, *("yes" if capability in PRESETS["regulated"].roles[role] else "" for capability in Capability))
        for role in roles
    ]
    gates = list(dict.fromkeys(gate.name for policy in policies for gate in policy.gates))
    measured = [
        (gate, *(next((gate_words(g) for g in policy.gates if g.name == gate), "") for policy in policies))
        for gate in gates
    ]
    names = [policy.name for policy in policies]
    return "\n".join(
        (
            _table(("", *names), asks),
            "What roles may do in `controlled` and `regulated` (`compliance` is known to `regulated` only):\n",
            _table(("role", *Capability), may),
            "What gates let through:\n",
            _table(("gate", *names), measured),
        )
    )


def page() -> str:
    """The page, with its tables written anew."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('*', chr(92) + '*') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
