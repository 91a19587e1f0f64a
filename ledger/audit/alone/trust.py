"""What the log says of keys, roles, policies and changes, event by event.

A line is an event with its hash and its signature.
"""

from __future__ import annotations

from collections.abc import Callable

from errata.ledger.audit.alone.encoding import Json, canonical, named, signed
from errata.ledger.audit.alone.tables import CHANGES

CHOICES = {
    "change_approved": "approve",
    "change_rejected": "reject",
    "change_applied": "break_glass",
    "glass_reviewed": "review",
}
"""Kinds of events that hold decisions -> what these decide."""


class Trust:
    """Keys, roles, policies and change sets while the log is read; what does not hold is told to `wrong`."""

    def __init__(self, ledger: str, wrong: Callable[[str, str], None]) -> None:
        self.ledger, self.wrong = ledger, wrong
        self.keys: dict[str, Json] = {}
        self.roles: dict[str, set[str]] = {}
        self.policy: Json = None
        self.policy_row: Json = None
        self.changes: dict[int, Json] = {}
        self.under_way: Json = None
        """The change set whose events follow."""

    def valid(self, key: str, person: str) -> bool:
        """Whether the key signs for the person at this place of the log."""
        return key in self.keys and self.keys[key]["person"] == person and self.keys[key]["revoked"] is None

    def read(self, line: Json) -> None:
        """Check one event against those before it, and take it in."""
        event, body, kind = line["event"], line["event"]["body"], line["event"]["kind"]
        seq, where = event["seq"], f"@{event['seq']}"
        self.check_signature(where, line)
        if kind in CHOICES:
            for decision in body["decisions"] if kind == "change_applied" else [body["decision"]]:
                self.check_decision(where, decision, body["proposal"], CHOICES[kind])
        if self.under_way and not self.goes_on(body, kind):
            self.under_way = None
        if kind == "policy_changed":
            self.policy = body["policy"]
            self.policy_row = {"seq": seq, "name": self.policy["name"], "digest": named("policy", self.policy)}
        elif kind == "key_granted":
            fields = {"key": body["key"], "person": body["person"], "granted": seq}
            self.keys[body["key"]] = fields | {"revoked": None, "compromised_since": None}
        elif kind == "key_revoked":
            self.keys[body["key"]] |= {"revoked": seq, "compromised_since": body["compromised_since"]}
        elif kind == "role_granted":
            self.roles.setdefault(body["person"], set()).add(body["role"])
        elif kind == "role_revoked":
            self.roles.get(body["person"], set()).discard(body["role"])
        elif kind == "change_proposed":
            made = {"body": body, "author": event["actor"], "subject": named("proposal", body), "approvals": []}
            self.changes[body["number"]] = made
        elif kind in CHANGES and (change := self.changes.get(body["proposal"])):
            self.take(change, event, body, kind)

    def take(self, change: Json, event: Json, body: Json, kind: str) -> None:
        """One more event in the life of a change set; of one from before the context there is nothing to know."""
        seq = event["seq"]
        if kind == "change_drafted":
            change |= {"draft": body, "drafter": event["actor"], "drafted": seq, "subject": named("draft", body)}
        elif kind == "change_approved":
            change["approvals"].append({"seq": seq} | body["decision"])
        elif kind == "change_applied":
            self.check_applied(f"@{seq}", change, body)
            self.begin(change, seq, body)
        elif kind == "change_checked":
            change["row"]["gates"] += [{"seq": seq, "when": "applied"} | one for one in body["evidence"]]
        elif kind == "glass_reviewed":
            said = {"seq": seq, "verdict": body["verdict"], "reason": body["reason"]}
            change["row"]["review"] = said | {"person": body["decision"]["person"]}

    def begin(self, change: Json, seq: int, body: Json) -> None:
        """A change set takes effect: what the master copy says of it, and the edits that come and go with it."""
        asked, draft = change["body"], change["draft"]
        approvals = [one for one in change["approvals"] if one["subject"] == body["subject"]]
        approvals += [{"seq": seq} | one for one in body["decisions"]]
        hidden = {"ledger", "proposal"}
        change["row"] = {
            **{name: asked[name] for name in ("reason", "ticket", "source", "risk")},
            "proposal": asked["number"],
            "action": asked["action"]["sort"],
            "author": change["author"],
            "drafter": change["drafter"],
            "proposal_digest": draft["proposal_digest"],
            "draft_digest": body["subject"],
            "approvals": [{name: one[name] for name in one if name not in hidden} for one in approvals],
            "gates": [{"seq": change["drafted"], "when": "draft"} | one for one in draft["evidence"]],
            "break_glass": body["authority"] == "break_glass",
            "break_glass_reason": body["reason"],
            "review_by": body["review_by"],
            "review": None,
        }
        self.deltas = [edit["delta"] for edit in draft["edits"]]
        self.ending = {*draft["taken_back"], *asked["action"].get("edits", ())}
        self.under_way = change["row"]

    def goes_on(self, body: Json, kind: str) -> bool:
        """Whether an event is one of those that the change set under way stands for."""
        if kind == "edit_applied" and body["delta_digest"] in self.deltas:
            self.deltas.remove(body["delta_digest"])
        elif kind == "edit_reverted" and body["edit"] in self.ending:
            self.ending.remove(body["edit"])
        else:
            return kind == "edit_superseded" and bool(self.deltas)
        return True

    def check_signature(self, where: str, line: Json) -> None:
        """An event is signed by its actor, where the policy in force asks for it."""
        actor = line["event"]["actor"]
        if line["signature"] is None:
            if self.policy and self.policy["signed"]:
                self.wrong(where, "is not signed, and the policy in force asks for it")
            return
        key, _, signature = line["signature"].rpartition(":")
        if not signed(key, "event", line["hash"].encode(), signature):
            self.wrong(where, "its signature does not hold")
        elif not self.valid(key, actor):
            self.wrong(where, f"is signed with a key that was not {actor}'s, or not valid, at this place")

    def check_decision(self, where: str, decision: Json, proposal: int, choice: str) -> None:
        """A person's decision is signed, by a key of theirs, and about exactly this."""
        person, change = decision["person"], self.changes.get(proposal)
        bare = canonical({name: value for name, value in decision.items() if name != "signature"})
        if not signed(decision["key"], "decision", bare, decision["signature"]):
            self.wrong(where, f"the signature of {person} does not hold")
        if not self.valid(decision["key"], person):
            self.wrong(where, f"the key of the decision was not {person}'s, or not valid, at this place")
        if (decision["ledger"], decision["proposal"], decision["choice"]) != (self.ledger, proposal, choice):
            self.wrong(where, f"the decision of {person} is one to do something else")
        if change and decision["subject"] != change["subject"]:
            self.wrong(where, f"the decision of {person} is of other bytes than what p{proposal} says")
        if decision["role"] is not None and decision["role"] not in self.roles.get(person, ()):
            self.wrong(where, f"{person} did not have the role {decision['role']!r}")

    def check_applied(self, where: str, change: Json, body: Json) -> None:
        """A change set was applied with what the policy in force asks for; before there was one, nothing was asked."""
        number, draft, policy = body["proposal"], change["draft"], self.policy
        if body["subject"] != change["subject"] or body["draft"] != draft["number"]:
            self.wrong(where, f"what was applied is not the last draft of p{number}")
        if policy is None:
            return
        if draft["policy"] != named("policy", policy):
            self.wrong(where, f"p{number} was drafted under another policy")
        if body["authority"] == "break_glass":
            persons = {one["person"] for one in body["decisions"]}
            if policy["break_glass"] is None or len(persons) < policy["break_glass"]["keys"]:
                self.wrong(where, f"break-glass on p{number} by too few, or where the policy has none")
            return
        sort, none = change["body"]["action"]["sort"], {"approvals": 0, "roles": [], "including": []}
        asked = policy["risks"][change["body"]["risk"]] if sort == "edit" else policy["actions"].get(sort, none)
        persons = {one["person"] for one in change["approvals"] if self.counts(one, change, asked["roles"])}
        held = set().union(*(self.roles.get(person, ()) for person in persons))
        if len(persons) < asked["approvals"] or not held >= set(asked["including"]):
            self.wrong(where, f"p{number} had {len(persons)} approvals that count; the policy asks for more")
        if not all(one["passed"] for one in draft["evidence"]):
            self.wrong(where, f"p{number} was applied although a gate had failed")

    def counts(self, approval: Json, change: Json, roles: list[str]) -> bool:
        """Whether an approval counts: of this draft, by somebody else, who may, with a key that was theirs."""
        person, own = approval["person"], self.roles.get(approval["person"], set())
        since = self.keys.get(approval["key"], {}).get("compromised_since")
        able = [self.policy["everyone"], *(self.policy["roles"].get(role, ()) for role in own)]
        return (
            approval["subject"] == change["subject"]
            and person not in (change["author"], change["drafter"])
            and (since is None or approval["seq"] < since)
            and any("approve" in one for one in able)
            and (not roles or bool(own & set(roles)))
        )
