"""A ledger with its model, opened: its methods are named as the commands are, and take the same words and addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.commands.lazy import when_used
from errata.commands.words.wording import score_table
from errata.door.given import Edit, Facts, File, facts_of, path_of, suite_of
from errata.door.results import Answers, Bisected, Edited, Evaluated, Ranking, Version
from errata.door.writing import OpenVersions
from errata.editor.config import config_for
from errata.ledger.base.errors import BadRecord, UsageError
from errata.ledger.base.words import short
from errata.ledger.kinds.evaluations import score_words
from errata.ledger.rules.addresses import resolve_edit

with when_used():
    from errata.commands.change import edits as edit_tables
    from errata.commands.measure import asking as asked_tables
    from errata.commands.measure import blaming
    from errata.commands.search import marking, showing
    from errata.editor.attribute import stand_in
    from errata.editor.model import text
    from errata.replay.apply import apply, care
    from errata.replay.bisect import run, scope
    from errata.replay.bisect import session as sessions
    from errata.replay.measure import asking, evaluations
    from errata.replay.measure import blame as blames
    from errata.replay.search import terms

if TYPE_CHECKING:
    from errata.ledger.facts.fact import Probe
    from errata.ledger.facts.suites import Suite


class OpenLedger(OpenVersions):
    """A ledger with its model, which is loaded when it is first needed; `open` and `init` make one.

    As a context manager, it lets go of the model at the end.
    """

    def edit(
        self,
        facts: Facts | None = None,
        *,
        subject: str | None = None,
        prompt: str | None = None,
        target: str | None = None,
        old: str | None = None,
        paraphrases: Sequence[str] = (),
        locality: Sequence[Probe | Mapping[str, str]] = (),
        train: Sequence[str] = (),
        questions: Sequence[str] = (),
        personal: bool = False,
        batch_size: int = 20,
        method: str | None = None,
        settings: Mapping[str, Any] | None = None,
        chat: bool | None = None,
        system: str | None = None,
        train_paraphrases: int = 0,
        keep_failed: bool = False,
        dry_run: bool = False,
        skip_bad: bool = False,
    ) -> Edited:
        """Write facts into the model, on record.

        One fact from keywords, or many. Each batch is recorded whole, before the next one begins, or not at all.

        Args:
            facts: a file's path, or one or several facts, each a `Fact` or a record as in a file.
            subject: who or what the fact is about.
            prompt: a phrase with exactly one {} for the subject, which the target completes.
            target: what the model should say.
            old: what it said before, if you know; only recorded.
            paraphrases: other phrasings, for tests and gates.
            locality: other facts that must stay, each with a prompt and a target, for tests and gates.
            train: other phrasings that take part in the optimisation.
            questions: what a user may ask in chat, with {} for the subject; the answer has to hold the target.
            personal: about a person: recorded sealed, so that it can be erased.
            batch_size: most edits that are solved together.
            method: "encore", "memit", ...; the ledger's own settings if left out.
            settings: hyperparameters that differ from these.
            chat: optimise and test in the model's chat template too; the ledger's setting if left out.
            system: the system prompt of the chat; likewise.
            train_paraphrases: how many paraphrases of each fact take part in the optimisation instead of testing it.
            keep_failed: try once, and let edits that did not work stay in the weights.
            dry_run: compute and test, but record nothing.
            skip_bad: leave out bad ones of several facts, and say so in the result.

        Raises:
            UsageError: a fact or a setting is not what it must be.
            Refused: the policy does not allow it.
            ModelError: a batch failed; what earlier ones recorded stands, and is in the error's `fields["recorded"]`.
        """
        single = {"subject": subject, "prompt": prompt, "target": target, "old": old,
                  "paraphrases": list(paraphrases), "locality": list(locality), "train": list(train),
                  "questions": list(questions)}  # fmt: skip
        left_out: list[BadRecord] | None = [] if skip_bad else None
        items = facts_of(facts, {name: value for name, value in single.items() if value}, personal, left_out)
        space = self._workspace
        changes = dict(settings or {}) | ({} if chat is None else {"chat": chat})
        config = config_for(space.config(), method, changes | ({} if system is None else {"chat_system": system}))
        items = care.prepared(config, items, train_paraphrases)
        usual = care.usual_care(space, config, keep_failed)
        reports = apply.edit_all(space, items, config, batch_size, dry_run, care=usual)
        version = space.state.version
        return Edited(
            edits=tuple(body.number for report in reports for body in report.recorded),
            failed=tuple(fact for report in reports for fact in report.failed),
            left_alone=tuple(item.fact for report in reports for item in report.no_ops),
            taken_back=tuple(number for report in reports for number in report.taken_back),
            version=version,
            left_out=tuple(record.message for record in left_out or ()),
            view=tuple(edit_tables.edits_told(reports, dry_run, version)),
        )

    def ask(
        self,
        prompt: str | Sequence[str],
        *,
        at: str = "HEAD",
        top: int = 5,
        tokens: int | None = None,
        chat: bool = False,
        system: str | None = None,
        without: Sequence[Edit] = (),
        only: Sequence[Edit] = (),
    ) -> Answers:
        """Ask a version what comes after a prompt, or after each of several; nothing is recorded.

        Args:
            prompt: full text.
            at: which version is asked.
            top: candidates for the next token.
            tokens: most tokens of the greedy continuation; 16, or 64 in chat, if left out.
            chat: put the prompts into the model's chat template, as what a user says.
            system: the system prompt of the chat; the ledger's setting if left out.
            without: edits to leave out.
            only: edits to keep; all if left out.

        Raises:
            UnknownVersion: there is no such version.
            ModelError: a prompt is empty or too long for the model.
        """
        live = self._live(at, without, only)
        prompts = [prompt] if isinstance(prompt, str) else prompt
        most = tokens or asking.usual_tokens(chat)
        answers = asking.ask(self._workspace, prompts, live, top, most, chat=chat, system=system)
        return Answers(
            self._ledger.state().version_of(live), tuple(answers), view=tuple(asked_tables.answers_told(answers))
        )

    def tag(self, name: str, version: str = "HEAD", *, note: str = "", move: bool = False) -> Version:
        """Name a version; the digests of its weights are recorded with the name.

        Args:
            name: small letters, digits and a few signs.
            version: its address.
            note: a remark; recorded.
            move: take the name from the version that has it.

        Raises:
            Refused: a version has this name already and it is not to move, or the policy protects it.
        """
        live = self._live(version)
        self._workspace.tag(name, live, note, move=move)
        return self._version(live)

    def untag(self, name: str) -> None:
        """Remove a tag; the version stays.

        Raises:
            Refused: there is no such tag, or the policy protects it.
        """
        self._workspace.untag(name)

    def revert(self, *edits: Edit, reason: str = "") -> Version:
        """Take edits back, exactly: all in one transaction, or none is.

        Args:
            edits: their addresses.
            reason: why; recorded.

        Returns:
            The version without them.

        Raises:
            UnknownEdit: there is no such edit.
            Refused: one of them is not in force, or the policy does not allow it.
        """
        if not edits:
            raise UsageError("say which edits to revert")
        self._workspace.revert([resolve_edit(self._ledger.state(), edit) for edit in edits], reason)
        return self.head

    def evaluate(
        self,
        version: str = "HEAD",
        *,
        suite: Suite | File | None = None,
        facts: Facts | None = None,
        edits: bool = False,
        corpus: File | None = None,
        task: str | None = None,
        include_path: Sequence[File] = (),
        again: bool = False,
        without: Sequence[Edit] = (),
        only: Sequence[Edit] = (),
        skip_bad: bool = False,
    ) -> Evaluated:
        """Score a version, with 95 % intervals; the result is recorded, and one that is recorded is only shown.

        Args:
            version: its address.
            suite: a suite, or its file. Give this or one of the four that follow.
            facts: facts with probes, as for `edit`.
            edits: the facts of the version's own edits, also by when they were made.
            corpus: perplexity of text: one document a line.
            task: a task of lm-eval; needs the extra `eval`.
            include_path: folders with the task's files.
            again: run it even if the result is recorded already.
            without: edits to leave out.
            only: edits to keep; all if left out.
            skip_bad: leave out bad ones of several facts, and say so in the result.

        Raises:
            UsageError: nothing or several things are asked for.
        """
        if sum((suite is not None, facts is not None, edits, corpus is not None, task is not None)) != 1:
            raise UsageError("say what to evaluate on: one of suite, facts, edits, corpus and task")
        if (task is None) != (not include_path):
            raise UsageError("task and include_path go together")
        left_out: list[BadRecord] | None = [] if skip_bad else None
        found, computed = evaluations.evaluate(
            self._workspace,
            self._live(version, without, only),
            suite=None if suite is None else suite_of(suite),
            facts=None if facts is None else facts_of(facts, left_out=left_out),
            name=Path(facts).name if isinstance(facts, (str, PathLike)) else "facts",
            corpus=path_of(corpus),
            task=task,
            folders=[Path(one) for one in include_path],
            again=again,
        )
        line = f"{found.suite} on {short(found.version)}: {score_words(found)}"
        rest = () if suite is not None else (score_table(found.scores),)
        told = tuple(record.message for record in left_out or ())
        return Evaluated(found.score, found, computed, told, view=(line, *rest))

    def bisect(
        self,
        good: str,
        bad: str = "HEAD",
        *,
        suite: Suite | File,
        threshold: float,
        subjects: Sequence[str] = (),
        layers: Sequence[int] = (),
        authors: Sequence[str] = (),
        batches: Sequence[str] = (),
        since: str | None = None,
        until: str | None = None,
        order: str = "log",
        prior: Suite | File | None = None,
        minimise: bool = True,
    ) -> Bisected:
        """Find the edit that made a version worse, by a suite's score; how it ended is recorded.

        A bisection that `errata bisect` has under way is left as it is.

        Args:
            good: a version whose score is good; it is tested first.
            bad: one whose score is not; likewise.
            suite: what decides.
            threshold: the last score that is still good.
            subjects: only edits of these subjects.
            layers: only edits that change these layers.
            authors: only changes that these actors made.
            batches: only edits of these batches, or of an edit's batch.
            since: only changes made after this version.
            until: only changes made up to this version.
            order: log, reverse, random or random:SEED.
            prior: begin with what blame finds by this suite.
            minimise: if no single edit explains it, find minimal sets that do.

        Raises:
            UsageError: both are the same version, or no change between them fits.
        """
        asked, likelier = suite_of(suite), None if prior is None else suite_of(prior)
        filters = scope.Filters(tuple(subjects), tuple(layers), tuple(authors), tuple(batches), since, until)
        state, how = self._ledger.state(), scope.check_order(order)
        session = sessions.start(state, good, bad, actor=marking.actors(self._ledger), filters=filters, order=how)
        how_run = run.How(strategy=terms.Strategy(minimise=minimise), prior=likelier)
        found, body = run.bisect_with_suite(self._workspace, session, asked, threshold, how_run)
        culprit = None if found.culprit is None else found.culprit.edits[0]
        return Bisected(culprit, found, view=tuple(showing.conclusion_told(self._ledger.state(), session, body)))

    def blame(
        self,
        version: str = "HEAD",
        *,
        suite: Suite | File | None = None,
        prompt: str | None = None,
        target: str | None = None,
        top: int = 10,
        check: int = 0,
        seed: int = 0,
        without: Sequence[Edit] = (),
        only: Sequence[Edit] = (),
    ) -> Ranking:
        """Rank a version's edits by the harm that they do to a suite, or to an answer; nothing is recorded.

        Args:
            version: its address.
            suite: what they are blamed for.
            prompt: or one prompt, with `target`.
            target: what the version should say after it.
            top: edits also left out singly, which is exact.
            check: as many others, at random.
            seed: seeds the random choice.
            without: edits to leave out.
            only: edits to keep; all if left out.

        Raises:
            UsageError: neither or both of suite and prompt are given, or the version has no edits.
        """
        if (suite is None) == (prompt is None) or (prompt is None) != (target is None):
            raise UsageError("say what to blame edits for: suite, or prompt with target")
        asked = blaming.prompt_suite(prompt, target) if suite is None else suite_of(suite)
        space, live, answer = self._workspace, self._live(version, without, only), None
        if prompt is not None:
            answer = stand_in.log_probability(
                text.locate(space.loaded.tokenizer, prompt, target=asked.probes[0].target)
            )
        found = blames.blame(space, live, asked, top, check, seed, answer)
        return Ranking(found.edits, view=tuple(blaming.blame_told(space.state, found)))
