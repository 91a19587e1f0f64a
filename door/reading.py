"""What can be read of an open ledger: versions, the log, what is recorded of an edit, and whether all of it holds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

from errata.commands.lazy import when_used
from errata.door.given import Edit, texts
from errata.door.results import Description, History, Verified, Version
from errata.ledger.base.words import counted, short
from errata.ledger.care.verify import examine, is_sound

with when_used():
    from errata.commands.trust import checks
    from errata.commands.versions import history
    from errata.replay.workflow import deep_verify, workspace

if TYPE_CHECKING:
    from errata.commands.app import App


class OpenLog:
    """A ledger, opened: its record, of which most can be read without the model."""

    def __init__(self, app: App) -> None:
        app.ledger_option = app.ledger_folder().absolute()  # wherever the process goes from here
        self._app = app
        self._ledger = app.ledger()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{self._ledger.folder}: {self.head}"

    def close(self) -> None:
        """Let go of the model; a later call that needs it loads it again."""
        self.__dict__.pop("_workspace", None)

    @cached_property
    def _workspace(self) -> workspace.Workspace:
        return workspace.Workspace(self._ledger, self._app.surroundings(), self._app.base)

    @property
    def head(self) -> Version:
        """The version that the ledger is at."""
        return self.version()

    @property
    def tags(self) -> dict[str, Version]:
        """The tagged versions, by name."""
        return {name: self._version(tag.live) for name, tag in self._ledger.state().tags.items()}

    def version(self, address: str = "HEAD", *, without: Sequence[Edit] = (), only: Sequence[Edit] = ()) -> Version:
        """The version that an address names.

        Args:
            address: "HEAD", "HEAD~2", "@17", "base", a tag, or the start of a digest.
            without: edits to leave out.
            only: edits to keep; all if left out.

        Raises:
            UnknownVersion, UnknownEdit: there is none.
        """
        return self._version(self._live(address, without, only))

    def log(
        self,
        count: int = 0,
        *,
        subject: str = "",
        actor: str = "",
        kinds: Sequence[str] = (),
        since: str = "",
        until: str = "",
        reveal: bool = False,
    ) -> History:
        """What happened, newest first.

        Args:
            count: only the newest; 0 is all.
            subject: only events about subjects with this text in them.
            actor: only what this person recorded.
            kinds: only events of these kinds, such as "edit_applied".
            since: from this date or time on, such as "2026-11-28".
            until: up to this date or time, all of which still counts.
            reveal: show personal facts in the clear, where their keys are here.
        """
        events = history.selected(self._ledger, count, subject, actor, kinds, since, until, reveal)
        return History(tuple(events), view=(history.event_table(self._ledger.state(), events),))

    def show(self, address: str, *, reveal: bool = False) -> Description:
        """Everything recorded of an edit ("e12"), a version, or a proposal ("p3").

        Args:
            address: its address.
            reveal: show personal facts in the clear, where their keys are here.

        Raises:
            UnknownEdit, UnknownVersion: there is none.
        """
        now = self._app.world.now()
        data, view = history.described(self._ledger, address, now, lambda: self._live(address), reveal)
        return Description(data, view=tuple(view))

    def verify(self, *, deep: bool = False) -> Verified:
        """Check that nothing is damaged; what is damaged is told, not raised.

        Args:
            deep: also recompute every delta, the base model's digests and the weights of tagged versions.
        """
        examined = examine(self._app.ledger_folder(), deep=deep)
        findings = list(examined.findings)
        if deep:
            findings += deep_verify.deep_verify(self._workspace, examined.state)
        sound = is_sound(findings)
        word = "sound: everything is as it was recorded" if sound else "damaged"
        return Verified(sound, tuple(findings), view=(*checks.findings_told(findings), word))

    def _live(self, address: str, without: Sequence[Edit] = (), only: Sequence[Edit] = ()) -> tuple[int, ...]:
        return self._app.live(self._ledger, address, texts(without), texts(only))

    def _version(self, live: tuple[int, ...]) -> Version:
        state = self._ledger.state()
        digest = state.version_of(live)
        tags = tuple(sorted(name for name, tag in state.tags.items() if tag.version == digest))
        names = f", tagged {', '.join(tags)}" if tags else ""
        return Version(digest, live, tags, view=(f"version {short(digest)}: {counted(len(live), 'edit')}{names}",))
