"""The text of a personal fact is nowhere but under its key, and after its erasure nowhere at all."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.ledger.base.errors import BadRecord, Erased, FactSealed, Refused, UsageError
from errata.ledger.base.failpoints import ERASURE_FAILPOINTS, FAILPOINTS, VAULT_FAILPOINTS
from errata.ledger.base.findings import Trouble
from errata.ledger.care.gc import Sort
from errata.ledger.care.repair import repair
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.events.bodies import FactErased
from errata.ledger.events.change_parts import EditFacts, EraseFact
from errata.ledger.events.parts import EditOutcome
from errata.ledger.events.policy import CONTROLLED, OPEN
from errata.ledger.events.trust_bodies import PolicyChanged
from errata.ledger.facts.fact import Fact, Sealed
from errata.ledger.facts.fact_files import fact_from
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import (
    ApplyEdits,
    ErasePersonal,
    ProposeChange,
    RecordEvent,
    RevertEdits,
    TagVersion,
)
from errata.ledger.rules.rules import check
from errata.ledger.secrets import tellings
from errata.ledger.secrets.erasing import Leftover, leftovers, lost_with
from errata.ledger.secrets.sealing import PADDING, seal, unseal
from errata.ledger.secrets.vault import MemoryVault
from errata.ledger.sharing.sides import Side
from errata.ledger.state.fold import Fold
from errata.ledger.store.blobs import FolderBlobs, MemoryBlobs
from errata.ledger.store.deltas import row_delta_digest
from tests.support.collecting import gc, names
from tests.support.crashes import killed
from tests.support.people import team
from tests.support.personal import (
    FACT,
    SAID_AFTER,
    SAID_BEFORE,
    apply_personal,
    bytes_of_edit,
    personal_edit,
    reader_of,
    token_of,
    told_in,
)
from tests.support.samples import filled, real_edits, run

OUTCOME = EditOutcome(efficacy=True, paraphrase=None, locality=None, said_before="one", said_after="two")
FACTS = st.builds(
    Fact,
    subject=st.text(min_size=1).filter(lambda text: text == text.strip() != "" and "{}" not in text),
    prompt=st.just("The home of {} is"),
    target=st.text(min_size=1, max_size=50).filter(lambda text: text.strip() != ""),
    personal=st.just(True),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger of three plain edits and then a personal one, e4."""
    found = filled(tmp_path, batches=1, size=3)
    assert apply_personal(found) == 4
    return found


def folder_of(ledger: Ledger) -> Path:
    assert ledger.folder is not None
    return ledger.folder


def warm(ledger: Ledger) -> None:
    """Caches that hold a delta, as keyframes and factors would, and a lock and a journal beside them."""
    body = ledger.state().edits[4].body
    for name in ("keyframes/a.keyframe", "factors/b.factor", "bisect/run/model.safetensors"):
        path = ledger.cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ledger.blobs.get(body.blob))
    (ledger.cache / "bisect.lock").touch()


@given(FACTS)
def test_a_sealed_fact_says_nothing_and_its_key_gives_it_back(fact: Fact) -> None:
    blobs, vault = MemoryBlobs(), MemoryVault()
    (first, told), (second, _) = (seal(blobs, vault, fact, OUTCOME) for _ in range(2))
    assert (told.said_before, told.said_after, told.efficacy) == ("", "", True)
    assert first.sealed is not None and second.sealed is not None
    assert first.key != second.key and first.sealed.commitment != second.sealed.commitment
    assert {len(blobs.get(one)) % PADDING for one in blobs.digests()} == {12 + 16}
    secret = unseal(blobs, vault, first.sealed)
    assert (secret.fact, secret.said_before, secret.said_after) == (fact, "one", "two")
    assert Fact.model_validate_json(first.model_dump_json()) == first


def test_a_ciphertext_belongs_to_its_edit_and_its_key() -> None:
    blobs, vault = MemoryBlobs(), MemoryVault()
    a, _ = seal(blobs, vault, FACT, OUTCOME)
    b, _ = seal(blobs, vault, FACT, OUTCOME)
    assert a.sealed is not None and b.sealed is not None
    swapped = a.sealed.model_copy(update={"blob": b.sealed.blob})
    with pytest.raises(FactSealed, match="another one"):
        unseal(blobs, vault, swapped)
    vault.keep(a.sealed.token, vault.key(b.sealed.token))
    with pytest.raises(FactSealed, match="another one"):
        unseal(blobs, vault, a.sealed)
    vault.drop(a.sealed.token)
    with pytest.raises(FactSealed, match="not in the vault"):
        unseal(blobs, vault, a.sealed)


@pytest.mark.parametrize(
    "changes", [{"target": "Riga"}, {"old": "Oslo"}, {"id": "7"}, {"prompt": "The {}"}, {"personal": True}]
)
def test_a_sealed_fact_has_no_room_for_text(ledger: Ledger, changes: dict[str, object]) -> None:
    fields = dict(ledger.state().edits[4].body.fact)
    with pytest.raises(BadRecord, match="in the clear"):
        Fact.checked(**(fields | changes))
    with pytest.raises(BadRecord, match="stands for a sealed fact"):
        Fact.checked(**(fields | {"sealed": None}))


def test_files_say_what_is_personal_in_every_form_and_hold_no_sealed_facts(ledger: Ledger) -> None:
    ours = {"subject": "Ada", "prompt": "{} lives in", "target": "Riga"}
    mirage = {"subject": "Ada", "prompt": "Ada lives in", "target_new": "Riga", "rephrase_prompt": "Ada's home is"}
    for record in (ours, mirage):
        assert not fact_from(record).personal
        assert fact_from({**record, "personal": True}).personal
        with pytest.raises(BadRecord, match="personal"):
            fact_from({**record, "personal": "yes"})
    with pytest.raises(BadRecord, match="a file says the fact itself"):
        fact_from(ledger.state().edits[4].body.fact.plain())
    assert "personal" not in fact_from(ours).plain() and "sealed" not in fact_from(ours).plain()


def test_the_text_is_nowhere_in_the_clear(ledger: Ledger) -> None:
    folder = folder_of(ledger)
    with reader_of(folder):
        apply_personal(ledger, 901, FACT, token_of(ledger, 4))
        assert (folder / "ledger.db-wal").stat().st_size > 0
        assert told_in(folder) == {}
    assert told_in(folder) == {}
    vault = folder / "vault"
    assert stat.S_IMODE(vault.stat().st_mode) == 0o700
    (key,) = vault.iterdir()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and len(key.read_bytes()) == 32
    said = ledger.opener.body(ledger.state().edits[5].body)
    assert (said.fact, said.outcome.said_before, said.outcome.said_after) == (FACT, SAID_BEFORE, SAID_AFTER)
    assert is_sound(verify(ledger, deep=True))
    assert ledger.state().live == (1, 2, 3, 5), "the second edit of the fact superseded the first"


def test_the_same_fact_is_known_again_by_opening_what_is_sealed(ledger: Ledger) -> None:
    state, opener = ledger.state(), ledger.opener
    assert opener.token_of(state, FACT.key) == token_of(ledger, 4)
    assert opener.token_of(state, ("Somebody else", FACT.prompt)) is None
    run(ledger, RevertEdits((4,)))
    assert opener.token_of(ledger.state(), FACT.key) == token_of(ledger, 4), "so that all are erased together"
    revealed = opener.reveal(state, state.live)
    assert revealed.live_facts[FACT.key] == 4 and revealed.edits[4].body.fact == FACT
    assert revealed.version == state.version


def test_after_erasing_nothing_is_left_and_the_log_still_verifies(ledger: Ledger) -> None:
    folder, before = folder_of(ledger), ledger.state()
    without = before.version_of((1, 2, 3))
    apply_personal(ledger, 901, FACT, token_of(ledger, 4))
    run(ledger, TagVersion("spring", (1, 2, 5), dict.fromkeys(before.budgets, "blake3:" + "0" * 64)))
    token, others = token_of(ledger, 4), {n: ledger.state().edits[n] for n in (1, 2, 3)}
    factors = bytes_of_edit(ledger, 4) | bytes_of_edit(ledger, 5)
    warm(ledger)
    secrets = [ledger.vault.key(token)]
    assert told_in(folder, factors) and told_in(folder, set(secrets))
    lost = lost_with(ledger.state(), (4, 5))
    assert (lost.ranges, lost.tags) == (((5, 5), (7, 8)), ("spring",))
    with reader_of(folder):
        events = run(ledger, ErasePersonal(token, "asked for"))
        assert told_in(folder) == told_in(folder, factors) == told_in(folder, set(secrets)) == {}
    assert [event.kind for event in events] == ["edit_reverted", "fact_erased"]
    assert told_in(folder) == told_in(folder, factors) == told_in(folder, set(secrets)) == {}
    assert [path.name for path in ledger.cache.iterdir()] == ["bisect.lock"]
    assert is_sound(verify(folder, deep=True))
    state = ledger.state()
    assert state.live == (1, 2, 3) and state.version == without
    assert {n: state.edits[n] for n in (1, 2, 3)} == others
    for other in ("e4", "e5"):
        with pytest.raises(Erased, match=f"{other} was erased at @10"):
            state.refuse_erased([int(other[1:])])
    with pytest.raises(Erased):
        ledger.opener.reveal(state, [4])
    run(ledger, ApplyEdits(real_edits(ledger, 50, 2)))
    assert is_sound(verify(folder, deep=True))


@pytest.mark.parametrize("point", [*VAULT_FAILPOINTS, *(p for p in FAILPOINTS if not p.startswith("create."))])
def test_a_kill_while_sealing_leaves_nothing_in_the_clear_and_gc_drops_the_rest(tmp_path: Path, point: str) -> None:
    filled(tmp_path, batches=1, size=3)
    assert killed(lambda: apply_personal(Ledger.open(tmp_path)), point) == signal.SIGKILL
    assert told_in(tmp_path) == {}
    findings = verify(tmp_path, deep=True)
    assert is_sound(findings), findings
    committed = FAILPOINTS.index(point) >= FAILPOINTS.index("append.after_commit") if point in FAILPOINTS else False
    assert (4 in Ledger.open(tmp_path).state().edits) == committed
    gc(tmp_path)
    assert len(list(Ledger.open(tmp_path).vault.tokens())) == int(committed)
    again = Ledger.open(tmp_path)
    apply_personal(again, 901, FACT, token_of(again, 4) if committed else None)
    assert verify(again, deep=True) == []


@pytest.mark.parametrize("finish", ["erase", "gc"])
@pytest.mark.parametrize("point", [*ERASURE_FAILPOINTS, *(p for p in FAILPOINTS if p.startswith(("append.", "seal.")))])
def test_a_kill_while_erasing_leaves_nothing_done_or_what_is_finished_later(
    tmp_path: Path, point: str, finish: str
) -> None:
    ledger = filled(tmp_path, batches=1, size=3)
    apply_personal(ledger)
    warm(ledger)
    token, factors = token_of(ledger, 4), bytes_of_edit(ledger, 4)
    assert killed(lambda: run(Ledger.open(tmp_path), ErasePersonal(token)), point) == signal.SIGKILL
    again = Ledger.open(tmp_path)
    if token not in again.state().erasures:
        assert again.state() == ledger.state() and again.opener.body(again.state().edits[4].body).fact == FACT
        assert is_sound(verify(again, deep=True))
        run(again, ErasePersonal(token))
    left = list(leftovers(again.state(), again.blobs, again.vault))
    told = [finding for finding in verify(again, deep=True) if finding.trouble is Trouble.ERASED]
    assert [finding.where for finding in told] == [one.name for one in left]
    if finish == "gc":
        found = gc(tmp_path, hours=0)
        assert sorted(names(found, Sort.ERASED)) == sorted(one.name for one in left)
    else:
        again.drop_erased()
    assert told_in(tmp_path, factors) == told_in(tmp_path) == {}
    assert not list(again.vault.tokens()) and is_sound(verify(again, deep=True))
    again.drop_erased()
    assert not list(leftovers(again.state(), again.blobs, again.vault))


def test_a_dry_run_of_gc_only_names_what_is_left(ledger: Ledger) -> None:
    folder, token = folder_of(ledger), token_of(ledger, 4)
    key = ledger.vault.key(token)
    run(ledger, ErasePersonal(token))
    ledger.vault.keep(token, key)
    assert names(gc(folder, hours=0, dry_run=True), Sort.ERASED) == [f"vault/{token}"]
    assert ledger.vault.holds(token)
    gc(folder, hours=0)
    assert not ledger.vault.holds(token)


def test_what_somebody_brings_back_is_found_and_no_copy_brings_it_back(ledger: Ledger, tmp_path: Path) -> None:
    folder, other = folder_of(ledger), tmp_path / "other"
    shutil.copytree(folder, other / ".errata")
    body, token = ledger.state().edits[4].body, token_of(ledger, 4)
    run(ledger, ErasePersonal(token))
    shutil.copytree(folder, tmp_path / "third" / ".errata")
    (tmp_path / "third" / ".errata" / "objects").rename(tmp_path / "gone")
    shutil.copytree(other / ".errata" / "objects", tmp_path / "third" / ".errata" / "objects")
    assert repair(folder, tmp_path / "third").blobs == (), "a second copy that still has them does not"
    assert not (folder / Leftover(0, token, body.blob).name).exists()
    shutil.copytree(other / ".errata" / "objects", folder / "objects", dirs_exist_ok=True)
    shutil.copytree(other / ".errata" / "vault", folder / "vault", dirs_exist_ok=True)
    assert body.fact.sealed is not None
    wanted = {Leftover(0, token, blob).name for blob in (body.blob, body.fact.sealed.blob, None)}
    findings = verify(folder)
    assert {one.where for one in findings} == wanted and not is_sound(findings)
    assert sorted(names(gc(folder, hours=0), Sort.ERASED)) == sorted(wanted)
    assert is_sound(verify(folder, deep=True))


def test_without_its_key_a_fact_is_sealed_and_can_still_be_erased(ledger: Ledger) -> None:
    token = token_of(ledger, 4)
    (folder_of(ledger) / "vault" / token).unlink()
    again = Ledger.open(folder_of(ledger))
    (finding,) = verify(again, deep=True)
    assert finding.trouble is Trouble.SEALED and is_sound([finding])
    for read in (
        lambda: again.opener.reveal(again.state(), [4]),
        lambda: again.opener.token_of(again.state(), ("", "")),
    ):
        with pytest.raises(FactSealed, match="restore"):
            read()
    run(again, ErasePersonal(token, "Doctor Ængsvik"))
    assert verify(again, deep=True) == []


def test_a_blob_that_another_edit_needs_stays(ledger: Ledger) -> None:
    """The same factors under another token: the fact was edited again after its key was lost."""
    body = ledger.state().edits[4].body
    run(ledger, RevertEdits((4,)))
    twin, _ = seal(ledger.blobs, ledger.vault, FACT, OUTCOME)
    run(ledger, ApplyEdits((personal_edit(ledger, 900).model_copy(update={"fact": twin}),)))
    assert ledger.state().edits[5].body.blob == body.blob
    run(ledger, ErasePersonal(token_of(ledger, 4)))
    assert ledger.state().live == (1, 2, 3, 5) and is_sound(verify(ledger, deep=True))
    run(ledger, ErasePersonal(token_of(ledger, 5)))
    assert body.blob not in set(ledger.blobs.digests()) and is_sound(verify(ledger, deep=True))


def test_the_rules_keep_personal_facts_erasable(ledger: Ledger) -> None:
    token = token_of(ledger, 4)
    good = personal_edit(ledger, 901)
    plain = real_edits(ledger, 60, 1)[0]
    for changes, why in (
        ({"fact": FACT}, "in the clear"),
        ({"outcome": good.outcome.model_copy(update={"said_after": "Riga"})}, "sealed with it"),
        ({"batch_size": 2}, "batch of its own"),
        ({"origin": Side.of(ledger).origin(1)}, "carried over"),
    ):
        with pytest.raises(Refused, match=why):
            run(ledger, ApplyEdits((good.model_copy(update=changes),)))
    fold = Fold(ledger.state())
    for body, why in (
        (FactErased(token=token, edits=(4,), reason=""), "is live"),
        (FactErased(token=token, edits=(3,), reason=""), "all edits"),
        (FactErased(token="0" * 32, edits=(4,), reason=""), "all edits"),
    ):
        with pytest.raises(Refused, match=why):
            check(fold, body)
    with pytest.raises(UsageError, match="no personal fact"):
        run(ledger, ErasePersonal("0" * 32))
    run(ledger, ErasePersonal(token))
    with pytest.raises(Refused, match="erased at @7 already"):
        run(ledger, ErasePersonal(token))
    sealed = Sealed(token=token, commitment="blake3:" + "1" * 64, blob=good.blob)
    again = good.model_copy(
        update={"fact": Fact(**{**dict(good.fact), "subject": f"[personal {token}]", "sealed": sealed})}
    )
    with pytest.raises(Refused, match="erased at @7"):
        run(ledger, ApplyEdits((again,)))
    run(ledger, ApplyEdits((plain,)))


REASONS = [
    "a wish of ottilie brändvold",
    "it said Doctor Ængsvik!",
    "asked for by Frau Brandvold",
    "Ottilie  Br\u00e4ndvold is not his patient",
    "for BRA\u0308NDVOLD,\u00a0Ottilie",
    "Ottilie\u200b's wish",
    "\uff2fttilie wants it",
    "Quillfeather, Doctor, was right",
    "HR_ottilie_brandvold_17",
    "forOttilieBrandvoldagain",
]


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_that_names_the_fact_is_refused(ledger: Ledger, reason: str) -> None:
    head = ledger.state().head
    for command in (ErasePersonal(token_of(ledger, 4), reason), RevertEdits((4,), reason)):
        with pytest.raises(UsageError, match="names the personal fact of e4"):
            run(ledger, command)
    assert ledger.state().head == head


@pytest.mark.parametrize(
    ("subject", "told", "plain"),
    [
        ("\u5c71\u7530\u592a\u90ce", "\u9000\u8077\u3057\u305f{}\u3055\u3093", "\u9000\u8077"),
        ("\u0e2a\u0e21\u0e0a\u0e32\u0e22", "\u0e04\u0e38\u0e13{}\u0e2d\u0e2d\u0e01", "\u0e04\u0e38\u0e13"),
        ("Li Wu", "{} asked", "a living wunder"),
        ("\uae40\uc724", "{}\uc528", "\uae40"),
    ],
)
def test_names_of_scripts_without_spaces_and_short_ones_are_seen(subject: str, told: str, plain: str) -> None:
    fact = FACT.model_copy(update={"subject": subject, "target": "x", "old": None})
    told = told.format(subject)
    assert tellings.tells(told, tellings.subject_of(fact)) and tellings.tells(told, tellings.names_of(fact))
    assert not tellings.tells(plain, tellings.subject_of(fact))


def test_what_is_about_something_else_may_say_the_target_but_not_the_name(ledger: Ledger) -> None:
    weights = dict.fromkeys(ledger.state().budgets, "blake3:" + "0" * 64)
    for telling in ("Brändvold, Ottilie", "without ottilie  brändvold"):
        for command in (RevertEdits((1,), telling), TagVersion("v1", (2,), weights, telling)):
            with pytest.raises(UsageError, match="names the personal fact of e4"):
                run(ledger, command)
    run(ledger, RevertEdits((1,), "Doctor Ængsvik moved"))
    run(ledger, TagVersion("v1", (2,), weights, "for Ottilie"))


@pytest.mark.parametrize("subject", ["Brändvold, Ottilie", "OTTILIE BRÄNDVOLD", "Ottilie\u00a0Bra\u0308ndvold"])
def test_another_spelling_in_the_clear_is_the_same_fact(ledger: Ledger, subject: str) -> None:
    clear = FACT.model_copy(update={"personal": False, "target": "Riga", "subject": subject})
    plain = real_edits(ledger, 60, 1)[0].model_copy(update={"fact": clear})
    with pytest.raises(Refused, match="e4 holds this as a personal fact"):
        run(ledger, ApplyEdits((plain,)))


def test_no_event_holds_in_the_clear_what_an_edit_holds_as_personal_until_it_is_erased(ledger: Ledger) -> None:
    clear = FACT.model_copy(update={"personal": False, "target": "Riga"})
    plain = real_edits(ledger, 60, 1)[0].model_copy(update={"fact": clear})
    asked = (ApplyEdits((plain,)), ProposeChange(EditFacts(facts=(clear,)), "asked for"))
    for before in ((), (RevertEdits((4,)),)):
        for step in before:
            run(ledger, step)
        head = ledger.state().head
        for command in asked:
            with pytest.raises(Refused, match="e4 holds this as a personal fact"):
                run(ledger, command)
        assert ledger.state().head == head and told_in(folder_of(ledger)) == {}
    run(ledger, ErasePersonal(token_of(ledger, 4)))
    for command in asked:
        run(ledger, command)


def test_a_change_set_may_erase_and_may_not_tell(tmp_path: Path) -> None:
    people = team(OPEN, Ledger.create(tmp_path))
    for number in (1, 2):
        token = None if number == 1 else token_of(people.ledger, 1)
        people.run("ada", ApplyEdits((personal_edit(people.ledger, 900 + number, token=token),)))
    people.run("ada", ApplyEdits(real_edits(people.ledger, 60, 1)))
    people.run("ada", RecordEvent(PolicyChanged(policy=CONTROLLED, reason="")))
    token = token_of(people.ledger, 1)
    with pytest.raises(Refused, match="in the clear"):
        people.propose("ada", EditFacts(facts=(FACT,)))
    with pytest.raises(Refused, match="nothing can erase"):
        people.propose("ada", EraseFact(edits=(3,)))
    with pytest.raises(Refused, match="all are erased"):
        people.propose("ada", EraseFact(edits=(1,)))
    with pytest.raises(Refused, match="lets nobody"):
        people.run("ada", ErasePersonal(token))
    people.whole(EraseFact(edits=(1, 2)))
    assert people.state.live == (3,) and token in people.state.erasures
    assert told_in(tmp_path) == {} and not list(people.ledger.vault.tokens())
    assert is_sound(verify(people.ledger))
    with pytest.raises(Refused, match="was erased at"):
        people.propose("ada", EraseFact(edits=(1, 2)))


def test_the_bytes_of_a_personal_edit_are_not_in_a_shared_blob(ledger: Ledger) -> None:
    from errata.ledger.store.deltas import decode_batch

    body = ledger.state().edits[4].body
    batch = decode_batch(ledger.blobs.get(body.blob))
    assert {array.shape[0] for array in batch.values()} == {1}
    assert row_delta_digest(batch, 0) == body.delta_digest


def test_an_unfinished_key_goes_with_the_next_erasure(ledger: Ledger) -> None:
    vault = folder_of(ledger) / "vault"
    (vault / ".tmp-0011").write_bytes(os.urandom(32))
    run(ledger, ErasePersonal(token_of(ledger, 4)))
    assert list(vault.iterdir()) == []
    assert isinstance(ledger.blobs, FolderBlobs)
