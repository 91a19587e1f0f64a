"""The master copy: what the events say of each edit, derived again."""

from __future__ import annotations

from bisect import bisect_left, insort

from errata.ledger.audit.alone.encoding import Json, digest
from errata.ledger.audit.alone.trust import Trust

SAME = (
    "number", "method", "hyperparameters", "software", "device", "batch", "batch_size", "row", "delta_digest",
    "keys_digest", "blob", "outcome", "seconds", "peak_memory_bytes",
)  # fmt: skip
STAGE_1 = ("steps", "stop_reason", "converged", "probability_before", "probability_after")
"""What the master copy repeats of an edit's event as it stands there."""


UNGOVERNED = {
    **dict.fromkeys(("proposal", "author", "drafter", "proposal_digest", "draft_digest", "ticket", "source", "risk")),
    **{"reason": "", "approvals": [], "gates": [], "break_glass": False, "break_glass_reason": ""},
    **{"review_by": None, "review": None},
}
"""What a row says of an edit that is part of no change set."""


def told(fact: Json) -> Json:
    """A fact in the columns of the master copy; of a personal one, only what stands in its place."""
    columns = {"subject": "subject", "prompt": "prompt", "old": "old", "relation": "relation", "new": "target"}
    if sealed := fact.get("sealed"):
        return dict.fromkeys((*columns, "fact_id")) | {"redacted": True, "commitment": sealed["commitment"]}
    clear = {name: fact[own] for name, own in columns.items()}
    return clear | {"fact_id": fact["id"], "redacted": False, "commitment": None}


class Master:
    """The master copy while the log is read; `trust` has taken in each event before."""

    def __init__(self, first: int, trust: Trust) -> None:
        self.first, self.trust = first, trust
        self.created: Json = None
        self.batch: str | None = None
        self.before = ""
        self.superseded: int | None = None
        self.solved: list[Json] = []
        self.rows: dict[int, Json] = {}
        self.changes: dict[int, Json] = {}
        self.deltas: list[str] = []
        self.scores: dict[str, list[Json]] = {}
        self.tags: dict[str, Json] = {}

    def version(self) -> str:
        """The identity of the version with the edits that are live."""
        parts = (self.created["base_digest"], *self.deltas)
        return digest("version", b"".join(len(part).to_bytes(8, "little") + part.encode() for part in parts))

    def close(self) -> None:
        """End the batch under way."""
        after = self.version() if self.before else ""
        for row in self.solved:
            row["result_version"] = after
        self.batch, self.before, self.solved = None, "", []

    def read(self, line: Json, batch: str | None) -> None:
        """Take one event in; `batch` is the one that it is part of."""
        event, body, kind = line["event"], line["event"]["body"], line["event"]["kind"]
        seq = event["seq"]
        if batch != self.batch or seq == self.first:
            self.close()
            self.batch, self.before = batch, self.version() if batch is not None and seq >= self.first else ""
        if kind == "ledger_created":
            self.created = body
        elif kind == "edit_applied":
            self.apply(line, body)
        elif kind in ("edit_superseded", "edit_reverted"):
            self.end(line, body, kind.removeprefix("edit_"))
        elif kind == "fact_erased":
            for edit in set(body["edits"]) & set(self.rows):
                self.rows[edit]["retention"] = "erased"
        elif kind == "evaluation_recorded":
            names = ("suite", "suite_digest", "metric", "score", "n", "passed")
            self.scores.setdefault(body["version"], []).append({"seq": seq} | {name: body[name] for name in names})
        elif kind in ("version_tagged", "version_untagged"):
            entered = kind == "version_tagged"
            tag = body if entered else self.tags.pop(body["tag"], None)
            if entered:
                self.tags[body["tag"]] = body
            for edit in tag["live"] if tag else ():
                if edit in self.rows:
                    move = {"seq": seq, "tag": tag["tag"], "version": tag["version"], "entered": entered}
                    self.rows[edit]["tags"].append(move)

    def apply(self, line: Json, body: Json) -> None:
        """An edit was recorded."""
        event, created, solve, change = line["event"], self.created, body["solve"], self.trust.under_way
        tensors = {
            name: {
                **{part: tensor[part] for part in ("shape", "layer", "grid_exponent")},
                "bound": body["bounds"][name],
                "norm_before": body["norms_before"][name],
                "norm_after": body["norms_after"][name],
                "residual_norm": solve["residual_norms"].get(name),
                "solve_error": solve["solve_errors"].get(name),
            }
            for name, tensor in created["edited"].items()
        }
        self.rows[body["number"]] = row = {
            **{name: event[name] for name in ("seq", "event_id", "recorded_at", "actor")},
            **{name: body[name] for name in SAME},
            **{name: created[name] for name in ("model", "family", "dtype", "tokenizer_digest", "config_digest")},
            **{name: body["stage1"][name] for name in STAGE_1},
            "previous": event["parent"],
            "hash": line["hash"],
            "time_source": "client",
            "key": line["signature"] and line["signature"].rpartition(":")[0],
            "roles": sorted(self.trust.roles.get(event["actor"], ())),
            "action": change["action"] if change else "carry" if body.get("origin") else "edit",
            **told(body["fact"]),
            "seed": str(body["seed"]),
            "base": created["base_digest"],
            "parent_version": self.before,
            "result_version": "",
            "past_keys": solve["past_keys"],
            "rank": max(body.get("ranks", {}).values(), default=1),
            "tensors": tensors,
            "policy": self.trust.policy_row,
            "tags": [],
            "status": "live",
            "supersedes": self.superseded,
            "ended": None,
            "origin": body.get("origin"),
            "retention": "kept",
        }
        self.changes[body["number"]] = change or UNGOVERNED
        self.superseded = None
        self.solved.append(row)
        insort(self.deltas, body["delta_digest"])
        if change is None:
            self.check_direct(event["seq"], "merge" if row["origin"] else "edit")

    def check_direct(self, seq: int, sort: str) -> None:
        """What is part of no change set is something that the policy in force lets be done directly."""
        if self.trust.policy and sort not in self.trust.policy["direct"] and seq >= self.first:
            self.trust.wrong(f"@{seq}", "is part of no change set, and the policy asks for one")

    def end(self, line: Json, body: Json, how: str) -> None:
        """An edit left the live set."""
        row, event, change = self.rows[body["edit"]], line["event"], self.trust.under_way
        row["status"] = how
        row["ended"] = {
            **{name: event[name] for name in ("seq", "recorded_at", "actor")},
            "hash": line["hash"],
            "by": body.get("by"),
            "reason": body.get("reason", ""),
            "proposal": change and change["proposal"],
        }
        self.superseded = body["edit"] if how == "superseded" else self.superseded
        failed = any(gate["when"] == "applied" and not gate["passed"] for gate in self.changes[body["edit"]]["gates"])
        if change is None and how == "reverted" and row["seq"] >= self.first and not failed:
            self.check_direct(event["seq"], "revert")
        del self.deltas[bisect_left(self.deltas, row["delta_digest"])]

    def finish(self) -> list[Json]:
        """The rows of the range."""
        self.close()
        for number, row in self.rows.items():
            row |= {name: self.changes[number][name] for name in UNGOVERNED}
            row["scores_before"] = self.scores.get(row["parent_version"], [])
            row["scores_after"] = self.scores.get(row["result_version"], [])
        return [row for row in self.rows.values() if row["seq"] >= self.first]
