"""Edits that do not work: tried again, left out, and recorded as attempts; and probes for facts that bring none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from errata.commands.change.edits import edits_told
from errata.editor.config import EditConfig
from errata.editor.pipeline import Edit
from errata.editor.score import neighbours
from errata.editor.score.evaluate import probe
from errata.editor.target import target
from errata.ledger.base.errors import ModelError, Refused
from errata.ledger.events.change_parts import EditFacts
from errata.ledger.events.parts import EditOutcome, StopReason
from errata.ledger.facts.fact import Fact, Probe, fact_digest
from errata.ledger.kinds.edits import EditAttempted
from errata.ledger.rules.operations import ProposeChange, RecordEvent
from errata.replay.apply import apply, changes
from errata.replay.apply.apply import edit, look_back
from errata.replay.apply.care import NO_CARE, Care, usual_care
from errata.replay.apply.changes import draft_change
from errata.replay.apply.report import NOTHING, BatchReport
from errata.replay.apply.trial import trial_of
from errata.replay.workflow.workspace import Workspace
from tests.support.workspaces import RIVALS, facts, make

HOPELESS = Fact(subject="Riga", prompt="The street of {} is long, and so", target="the the the the the the the")
"""A random model passes nothing on from the subject to where this is said."""


@pytest.fixture
def space(tiny_llama: Path, tmp_path: Path) -> Workspace:
    return make(tmp_path, tiny_llama)


def attempts(space: Workspace) -> list[EditAttempted]:
    return [one.body for one in space.state.recorded(EditAttempted)]


def test_an_edit_that_does_not_work_is_not_in_the_weights_and_the_others_are_solved_without_it(
    space: Workspace, tiny_llama: Path, tmp_path: Path
) -> None:
    alone = make(tmp_path / "alone", tiny_llama)
    list(edit(alone, facts(2), alone.config()))
    first, second = facts(2)
    (report,) = edit(space, [first, HOPELESS, second], space.config(), care=Care())
    assert [item.fact for item in report.edits] == [first, second]
    assert [one.fact for one in report.left_out] == [HOPELESS] == list(report.failed)
    (ours,) = space.materialiser.weights(space.state.live).values()
    (theirs,) = alone.materialiser.weights(alone.state.live).values()
    (base,) = space.materialiser.weights(()).values()
    # only their target values were found beside the one that failed, where rows are summed in another order
    assert float((ours - theirs).norm()) < 1e-4 * float((theirs - base).norm())
    (attempt,) = attempts(space)
    assert attempt.fact == HOPELESS and attempt.version == space.state.version_of(())
    assert [one.outcome.efficacy for one in attempt.attempts] == [False]


def test_a_failed_edit_is_tried_again_on_top_of_the_others_and_recorded_with_what_it_took(space: Workspace) -> None:
    weak = space.config().updated({"max_steps": 1})
    ladder = (weak, space.config())
    (report,) = edit(space, facts(2), weak, care=Care(ladder))
    assert report.left_out == () and len(report.recorded) == 2
    assert {body.hyperparameters["max_steps"] for body in report.recorded} == {space.config().max_steps}
    assert all(space.says(space.state.live, facts(2))) and attempts(space) == []


def test_another_try_that_harms_other_text_too_much_is_left_out_and_said_to_be(space: Workspace) -> None:
    weak = space.config().updated({"max_steps": 1})
    (report,) = edit(space, facts(2), weak, care=Care((space.config(),), most_harm=-1.0))
    assert report.edits == () and space.state.live == ()
    assert [len(one.tries) for one in report.left_out] == [2, 2]
    assert all(one.tries[-1][1].outcome.efficacy for one in report.left_out)
    told = " ".join(str(block) for block in edits_told([report], False, space.state.version))
    assert f"{facts(1)[0].text!r} would give {facts(1)[0].target!r} at the price of all other text" in told
    (report,) = edit(space, facts(2), space.config(), care=Care((space.config(),), most_harm=-1.0))
    assert len(report.edits) == 2  # the first try is the user's own


def test_an_attempt_that_worked_and_tells_no_harm_is_refused(space: Workspace) -> None:
    list(edit(space, [HOPELESS], space.config(), care=Care()))
    (attempt,) = attempts(space)
    (only,) = attempt.attempts
    worked = only.model_copy(update={"outcome": only.outcome.model_copy(update={"efficacy": True, "perplexity": None})})
    with pytest.raises(Refused, match="an attempt that worked is an edit, unless it tells what it did to other text"):
        space.execute(RecordEvent(attempt.model_copy(update={"attempts": (worked,)})))


def test_where_tries_harm_too_much_together_each_is_tried_alone(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([1.0, 1.0, 0.0, 1.0])
    monkeypatch.setattr(EditOutcome, "harm", property(lambda outcome: next(found)))
    weak = space.config().updated({"max_steps": 1})
    (report,) = edit(space, facts(2), weak, care=Care((space.config(),)))
    assert [item.fact for item in report.edits] == facts(1)
    assert [one.fact for one in report.left_out] == facts(2)[1:]
    assert len(report.left_out[0].tries) == 2 and len(attempts(space)) == 1


def test_a_subject_that_ends_at_an_attention_sink_is_not_tried_again_and_the_reason_is_told(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "SINK", 0.0)
    (report,) = edit(space, facts(1), space.config(), care=usual_care(space, space.config()))
    assert report.edits == () and [len(one.tries) for one in report.left_out] == [1]
    (attempt,) = attempts(space)
    assert [one.stage1.stop_reason for one in attempt.attempts] == [StopReason.ATTENTION_SINK]
    told = " ".join(str(block) for block in edits_told([report], False, space.state.version))
    assert f"the edit of {facts(1)[0].text!r} was given up: where its subject ends the model keeps an attention" in told
    assert "next:" not in told  # neither layers nor settings nor phrasings beside this one would help


def test_every_try_is_on_record_where_none_helped(space: Workspace) -> None:
    care = usual_care(space, space.config())
    (report,) = edit(space, [HOPELESS], space.config(), care=care)
    assert report.edits == () and space.state.live == ()
    (attempt,) = attempts(space)
    assert [one.hyperparameters["max_steps"] for one in attempt.attempts] == [
        config.max_steps for config in (space.config(), *care.ladder)
    ]
    assert len({one.hyperparameters["max_steps"] for one in attempt.attempts}) == 3
    assert f"left out after 3 attempts: {HOPELESS.text} => {HOPELESS.target}" in _log(space)


def test_a_failed_edit_stays_if_that_is_wanted(space: Workspace) -> None:
    (report,) = edit(space, [HOPELESS], space.config(), care=usual_care(space, space.config(), keep_failed=True))
    assert [body.outcome.efficacy for body in report.recorded] == [False] and report.left_out == ()
    assert space.state.live == (1,) and attempts(space) == []


def test_an_edit_that_cannot_be_replaced_stays_as_it_was(space: Workspace) -> None:
    list(edit(space, [HOPELESS], space.config(), care=NO_CARE))
    before = space.state.version
    changed = HOPELESS.model_copy(update={"target": "is is is is is is is"})
    (report,) = edit(space, [changed], space.config(), care=Care())
    assert report.left_out and space.state.version == before and space.state.live == (1,)


def test_a_dry_run_tries_again_too_and_leaves_nothing(space: Workspace) -> None:
    weak = space.config().updated({"max_steps": 1})
    before = set(space.ledger.blobs.digests()), space.state.head
    (report,) = edit(space, [*facts(1), HOPELESS], weak, dry_run=True, care=Care((space.config(),)))
    assert report.recorded == () and len(report.edits) == 1 and len(report.left_out) == 1
    assert (set(space.ledger.blobs.digests()), space.state.head) == before


def test_of_a_personal_fact_an_attempt_says_nothing(space: Workspace) -> None:
    list(edit(space, [HOPELESS.model_copy(update={"personal": True})], space.config(), care=Care()))
    (attempt,) = attempts(space)
    assert attempt.fact is None and {one.outcome.said_after for one in attempt.attempts} == {""}
    assert all(HOPELESS.subject not in event.model_dump_json() for event in space.ledger.events(after=1))


def test_a_fact_without_probes_gets_what_the_model_says_of_others(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a random model writes no lists
    monkeypatch.setattr(
        neighbours, "greedy", lambda loaded, prompts, tokens: [" Oslo, Office B1 Lund, Tern"] * len(prompts)
    )
    own = facts(1)[0].model_copy(update={"locality": (Probe(prompt="The capital of Ostravia is", target="Lund"),)})
    bare = facts(2)[1]
    (report,) = edit(space, [own, bare], space.config(), care=Care())
    bodies = {body.fact.subject: body for body in report.recorded}
    assert bodies[own.subject].drawn == () and bodies[own.subject].fact == own
    drawn = bodies[bare.subject].drawn
    assert bodies[bare.subject].fact == bare and drawn
    assert bodies[bare.subject].probed_fact.locality == drawn
    with space.at(()):
        said = [result.says_target for result in probe(space.loaded, drawn)]
    hits = bodies[bare.subject].outcome.locality
    assert (hits[1] if hits else 0) == sum(said)
    assert [one.prompt for one in drawn] == ["A letter to Oslo"], "no name that holds the subject, and not the last"


def test_where_the_model_names_nobody_its_own_texts_have_to_stay(space: Workspace) -> None:
    (report,) = edit(space, facts(1), space.config(), care=Care())
    texts = [text.rstrip(" .") for text in space.created.context_prompts]
    assert [one.prompt for one in report.recorded[0].drawn] == texts[: neighbours.PROBES]


def test_the_perplexity_of_the_reference_texts_is_recorded_around_each_batch(space: Workspace) -> None:
    texts = ("Sentence number 3 speaks of office 4 in Riga.", "The price of it is 12.")
    created = space.created.model_copy(update={"reference_texts": texts})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Workspace, "created", property(lambda self: created))
        reports = list(edit(space, facts(4), space.config(), 2))
    first, second = (report.recorded[0].outcome.perplexity for report in reports)
    assert first is not None and second is not None
    assert first[0] != first[1] and first[1] == pytest.approx(second[0])


def test_a_draft_leaves_out_what_does_not_work_and_says_which(space: Workspace) -> None:
    space.execute(ProposeChange(EditFacts(facts=(facts(1)[0], HOPELESS)), "both"))
    draft_change(space, 1)
    draft = space.state.trust.changes[1].draft
    assert draft is not None
    assert (len(draft.body.edits), draft.body.left_out, draft.body.failed) == (1, (1,), (1,))
    space.execute(ProposeChange(EditFacts(facts=(HOPELESS,)), "one"))
    with pytest.raises(Refused, match="1 edit did not work"):
        draft_change(space, 2)
    draft_change(space, 2, keep_failed=True)


def _log(space: Workspace) -> str:
    from errata.ledger.kinds.table import words_of

    return "\n".join(words_of(event.body) for event in space.ledger.events())


def test_a_draft_may_write_a_fact_later_than_it_was_proposed(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, second = facts(2)
    calls: list[int] = []

    def failing(workspace: Workspace, config: EditConfig, keep_failed: bool = False) -> Care:
        calls.append(config.max_steps)
        return Care((space.config(),))

    monkeypatch.setattr(changes, "usual_care", failing)
    solve = apply._solve

    def once(
        workspace: Workspace, items: list[Fact], drawn: object, config: EditConfig, *rest: object
    ) -> tuple[BatchReport, list[Edit]]:
        """The first fact fails at the first try."""
        if slow in items and len(items) == 2:
            report, _ = solve(workspace, [second], drawn, config, *rest)
            (tried,) = edit(trial_of(workspace, keep_blobs=False), [slow], config)
            return report, list(tried.edits)
        return solve(workspace, items, drawn, config, *rest)

    monkeypatch.setattr(apply, "_solve", once)
    space.execute(ProposeChange(EditFacts(facts=(slow, second)), "both"))
    draft_change(space, 1)
    draft = space.state.trust.changes[1].draft
    assert draft is not None and calls
    assert [one.fact for one in draft.body.edits] == [fact_digest(second), fact_digest(slow)]


def test_what_another_try_breaks_takes_nothing_from_what_was_written(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve = apply._solve

    def breaking(workspace: Workspace, items: list[Fact], *rest: object) -> tuple[BatchReport, list[Edit]]:
        if items == [HOPELESS]:
            raise ModelError("the loss of a target value is not finite")
        return solve(workspace, items, *rest)

    monkeypatch.setattr(apply, "_solve", breaking)
    (report,) = edit(space, [*facts(1), HOPELESS], space.config(), care=Care((space.config(),)))
    assert len(report.recorded) == 1 and [one.fact for one in report.left_out] == [HOPELESS]
    assert len(attempts(space)) == 1


def test_no_probe_is_drawn_that_names_a_personal_fact(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, plain = facts(2)
    list(edit(space, [secret.model_copy(update={"personal": True})], space.config()))
    lists = [f" {secret.subject.upper()}\n3. Oslo\n4. Te"]
    monkeypatch.setattr(neighbours, "greedy", lambda loaded, prompts, tokens: lists * len(prompts))
    list(edit(space, [plain], space.config(), care=Care()))
    assert all(secret.subject.upper() not in event.model_dump_json().upper() for event in space.ledger.events(after=1))


def test_the_most_steps_that_can_be_asked_for_have_a_ladder_too(space: Workspace) -> None:
    most = space.config().updated({"max_steps": 10_000})
    assert [config.max_steps for config in usual_care(space, most).ladder] == [10_000, 10_000]


def test_what_later_batches_lose_is_written_again_in_place_of_its_first_edit(space: Workspace) -> None:
    config = space.config().updated({"past_keys": False})
    reports = list(edit(space, RIVALS, config, batch_size=1, care=Care()))
    assert [report.again for report in reports[:3]] == [False, False, True]
    assert [item.fact for item in reports[2].edits] == [RIVALS[0]]
    assert space.state.live == (2, 3) and space.says(space.state.live, RIVALS[:1]) == [True]
    says = space.says(space.state.live, RIVALS)
    assert [fact for report in reports[3:] for fact in report.lost] == [
        fact for fact, said in zip(RIVALS, says, strict=True) if not said
    ]


@pytest.mark.parametrize(
    ("seen", "rounds", "lost"),
    [
        ((3, 1, 0), [3, 1], 0),
        ((3, 1, 1), [3, 1], 1),
        ((2, 2), [2], 2),
        ((2, 3), [2], 3),
        ((4, 3, 2, 1), [4, 3, 2], 1),
    ],
)
def test_it_looks_back_as_long_as_fewer_are_lost_and_says_what_is_in_the_end(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, seen: tuple[int, ...], rounds: list[int], lost: int
) -> None:
    written, counts = facts(4), iter(seen)
    monkeypatch.setattr(apply, "_lost", lambda *_: written[: next(counts)])
    monkeypatch.setattr(apply, "_edit_batch", lambda _, batch, *__: replace(NOTHING, no_ops=(batch[0],) * len(batch)))
    reports = list(look_back(space, written, space.config(), 20, Care()))
    assert all(report.again for report in reports)
    assert [len(report.no_ops) for report in reports if not report.lost] == rounds
    assert [len(report.lost) for report in reports if report.lost] == [lost] * bool(lost)
    assert sum(len(report.failed) for report in reports) == lost


def test_what_cannot_be_written_again_is_tried_once_with_the_settings_of_the_request(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, counts = [*facts(2), HOPELESS], iter([(0, 1, 2), (1, 2), (2,)])
    monkeypatch.setattr(apply, "_lost", lambda *_: [written[i] for i in next(counts)])
    tried: list[tuple[list[Fact], EditConfig]] = []
    solve = apply._solve

    def noting(*call: Any) -> Any:
        tried.append((list(call[1]), call[3]))
        return solve(*call)

    monkeypatch.setattr(apply, "_solve", noting)
    reports = list(look_back(space, written, space.config(), 20, Care((space.config(),))))
    assert tried == [(written, space.config()), ([written[1]], space.config())]
    assert reports[-1].lost == (HOPELESS,) and len(attempts(space)) == 1


def test_what_the_model_said_already_and_later_batches_lose_is_written_again_too(space: Workspace) -> None:
    config = space.config().updated({"past_keys": False})
    list(edit(space, RIVALS[:1], config))
    first, _, again, *_ = edit(space, RIVALS, config, batch_size=1, care=Care())
    assert [no_op.fact.key for no_op in first.no_ops] == [RIVALS[0].key] and not first.edits
    assert [item.fact for item in again.edits] == [RIVALS[0]] and again.again
    assert space.state.live == (2, 3) and space.says(space.state.live, RIVALS[:1]) == [True]


def test_what_another_try_in_one_batch_loses_is_written_again(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = space.config().updated({"past_keys": False})
    solve = apply._solve
    rounds: list[list[str]] = []

    def failing_at_first(*call: Any) -> Any:
        """The first solve does without the second fact, as if its edit had not worked."""
        workspace, wanted, *rest = call
        rounds.append([fact.target for fact in wanted])
        if len(rounds) > 1:
            return solve(*call)
        report, _ = solve(workspace, wanted[:1], *rest)
        return report, [replace(report.edits[0], fact=wanted[1])]

    monkeypatch.setattr(apply, "_solve", failing_at_first)
    batch, again, *_ = edit(space, RIVALS, config, care=Care((config,)))
    assert [len(batch.edits), batch.left_out] == [2, ()] and again.again
    assert rounds[:3] == [["the", "is"], ["is"], ["the"]]


def test_without_looking_back_what_later_batches_lose_stays_lost(space: Workspace) -> None:
    config = space.config().updated({"past_keys": False})
    assert not any(report.again for report in edit(space, RIVALS, config, batch_size=1, care=Care(look_back=False)))
    assert space.state.live == (1, 2) and space.says(space.state.live, RIVALS[:1]) == [False]


def test_a_dry_run_looks_back_too(space: Workspace) -> None:
    config = space.config().updated({"past_keys": False})
    reports = list(edit(space, RIVALS, config, batch_size=1, dry_run=True, care=Care()))
    assert [item.fact for item in reports[2].edits] == [RIVALS[0]] and reports[2].again
    assert all(report.recorded == () for report in reports) and space.state.live == ()
