"""Sealing: a personal fact as the log holds it, and its text back for whoever has the key.

The fact, and everything else that would give it away, becomes one JSON value with a random salt. The log gets a
commitment to that value and the name of its ciphertext; the key goes into the vault (`ledger.secrets.vault`). With the
key anybody can see that the text is the one that was committed to; without it the commitment says nothing, since
whoever guesses a text has to guess 256 bits of salt too. Once the key and the ciphertext are gone, nothing here leads
back.

The cipher is ChaCha20-Poly1305 (RFC 8439), with a fresh nonce a ciphertext, and token and commitment as associated
data, so that no ciphertext can be moved to another edit. Texts are padded, so that sizes tell little.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from pydantic import ValidationError

from errata.ledger.base.canonical import canonical_bytes, digest
from errata.ledger.base.errors import Damaged, FactSealed, Refused, UsageError
from errata.ledger.base.records import Record
from errata.ledger.events.bodies import EditApplied
from errata.ledger.events.parts import EditOutcome
from errata.ledger.facts.fact import Fact, Sealed, sealed_fact
from errata.ledger.secrets import tellings
from errata.ledger.secrets.proposed import sealed_edits, waiting_facts
from errata.ledger.secrets.vault import KEY_BYTES, Vault
from errata.ledger.state.state import EditRecord, State
from errata.ledger.store.blobs import BlobStore

SALT_BYTES = 32
NONCE_BYTES = 12
PADDING = 1024
"""Texts are padded with spaces to a multiple of so many bytes."""


class Secret(Record):
    """What is sealed: the fact, what the model said of it before and after the edit, and the salt in hexadecimal."""

    salt: str
    fact: Fact
    said_before: str
    said_after: str

    @property
    def commitment(self) -> str:
        """The digest that the log holds."""
        return digest("fact-commitment", canonical_bytes(self.plain()))


def new_token() -> str:
    """A name for a personal fact, at random."""
    return os.urandom(16).hex()


def seal(
    blobs: BlobStore, vault: Vault, fact: Fact, outcome: EditOutcome, token: str | None = None
) -> tuple[Fact, EditOutcome]:
    """Seal a personal fact: first its key, then its ciphertext; the event is the caller's.

    Args:
        blobs: where the ciphertext goes.
        vault: where the key goes, or is.
        fact: the fact in the clear.
        outcome: what the edit's own probes said.
        token: the fact's, if it has been sealed before; its key is used again, with another nonce.

    Returns:
        Fact and outcome as they are recorded.

    Raises:
        FactSealed: there is no key for this token.
        StorageFailed: something could not be written.
    """
    sealed = _seal(blobs, vault, fact, (outcome.said_before, outcome.said_after), token)
    return sealed, unsaid(outcome)


def seal_proposed(blobs: BlobStore, vault: Vault, fact: Fact, token: str | None = None) -> Fact:
    """Seal a personal fact that is only proposed, as it will be recorded with its edit; arguments as of `seal`."""
    return _seal(blobs, vault, fact, ("", ""), token)


def unsaid(outcome: EditOutcome) -> EditOutcome:
    """An outcome without what the model said, which tells of the fact."""
    return outcome.model_copy(update={"said_before": "", "said_after": ""})


def _seal(blobs: BlobStore, vault: Vault, fact: Fact, said: tuple[str, str], token: str | None) -> Fact:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    if token is None:
        token, key = new_token(), os.urandom(KEY_BYTES)
        vault.keep(token, key)
    else:
        key = vault.key(token)
    secret = Secret(salt=os.urandom(SALT_BYTES).hex(), fact=fact, said_before=said[0], said_after=said[1])
    text = canonical_bytes(secret.plain())
    padded = text.ljust(-(-len(text) // PADDING) * PADDING)
    nonce = os.urandom(NONCE_BYTES)
    sealed_text = ChaCha20Poly1305(key).encrypt(nonce, padded, _bound_to(token, secret.commitment))
    return sealed_fact(Sealed(token=token, commitment=secret.commitment, blob=blobs.put(nonce + sealed_text)))


def unseal(blobs: BlobStore, vault: Vault, sealed: Sealed) -> Secret:
    """What was sealed.

    Raises:
        FactSealed: the key is missing or another, or the ciphertext holds something else than was committed to.
        BlobMissing, BlobDamaged: the ciphertext.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    key, data = vault.key(sealed.token), blobs.get(sealed.blob)
    try:
        bound = _bound_to(sealed.token, sealed.commitment)
        text = ChaCha20Poly1305(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], bound)
        secret = Secret.model_validate_json(text)
    except (InvalidTag, ValidationError, ValueError) as error:
        raise FactSealed(sealed.token, "its key or its ciphertext is another one") from error
    if secret.commitment != sealed.commitment:
        raise FactSealed(sealed.token, "what its ciphertext says is not what was committed to")
    return secret


def _bound_to(token: str, commitment: str) -> bytes:
    return f"{token} {commitment}".encode("ascii")


def refuse_personal(facts: Iterable[Fact], what: str) -> None:
    """See that no personal fact comes to where a digest of it, without salt, would be recorded.

    Raises:
        UsageError: there is one.
    """
    if any(fact.personal for fact in facts):
        raise UsageError(
            f"personal facts cannot be {what}: a digest of them would be recorded, by which whoever guesses one "
            "can see that the guess is right"
        )


class Opener:
    """Reads personal facts of one ledger, each once.

    Args:
        blobs: the ledger's.
        vault: its keys.

    Attributes:
        given: personal facts that came sealed, as those of a proposal do, by subject and prompt: their edits are
            recorded with exactly these.
    """

    def __init__(self, blobs: BlobStore, vault: Vault) -> None:
        self._blobs = blobs
        self._vault = vault
        self._opened: dict[Sealed, Secret] = {}
        self.given: dict[tuple[str, str], Fact] = {}

    def open(self, sealed: Sealed) -> Secret:
        """See `unseal`."""
        if sealed not in self._opened:
            self._opened[sealed] = unseal(self._blobs, self._vault, sealed)
        return self._opened[sealed]

    def fact(self, fact: Fact) -> Fact:
        """A fact in the clear; one that is not sealed as it is. Raises what `unseal` raises."""
        return fact if fact.sealed is None else self.open(fact.sealed).fact

    def readable(self, facts: Iterable[Fact]) -> tuple[tuple[Fact, ...], int]:
        """Those of these facts that can be read, in the clear, and how many cannot."""
        found, gone = [], 0
        for fact in facts:
            try:
                found.append(self.fact(fact))
            except Damaged:
                gone += 1
        return tuple(found), gone

    def body(self, body: EditApplied) -> EditApplied:
        """An edit with its fact, and what the model said, in the clear; one that is not sealed as it is.

        Raises:
            FactSealed, BlobMissing, BlobDamaged: see `unseal`.
        """
        if body.fact.sealed is None:
            return body
        secret = self.open(body.fact.sealed)
        said = {"said_before": secret.said_before, "said_after": secret.said_after}
        return body.model_copy(update={"fact": secret.fact, "outcome": body.outcome.model_copy(update=said)})

    def reveal(self, state: State, numbers: Iterable[int]) -> State:
        """The state with these edits in the clear: to be looked at, never to be recorded.

        Raises:
            Erased: one of them was erased.
            FactSealed, BlobMissing, BlobDamaged: see `unseal`.
        """
        sealed = [n for n in numbers if n in state.edits and state.edits[n].token is not None]
        if not sealed:
            return state
        state.refuse_erased(sealed)
        opened = {n: state.edits[n].saying(self.body(state.edits[n].body)) for n in sealed}
        return replace(state, edits={**state.edits, **opened}, live_facts=_live_facts(state, opened))

    def _open_facts(self, state: State) -> Iterator[tuple[str, Fact]]:
        """The personal facts that are not erased, by edit or proposal; who cannot read one cannot compare it either."""
        edits = ((f"e{number}", sealed) for number, sealed in sealed_edits(state))
        for where, sealed in (*edits, *((f"p{n}", one) for n, one in waiting_facts(state))):
            with suppress(Damaged):
                yield where, self.open(sealed).fact

    def refuse_telling(
        self, state: State, about: Iterable[int], own: Iterable[tuple[str, Fact]], texts: Iterable[str]
    ) -> None:
        """See that what the log keeps forever does not tell a personal fact.

        Args:
            state: whose facts these are.
            about: the edits that the texts are about: of those no part of the subject, and neither target nor old
                object, may be in them; of others, not the whole subject.
            own: facts of the change that the texts are about, each with what that is called; likewise.
            texts: reasons, notes, tickets, and whatever else is somebody's own words.

        Raises:
            UsageError: one of them names a fact whose key is here.
        """
        told, near = [text for text in texts if text], {f"e{number}" for number in about}
        if not told:
            return
        parts = [
            (name, tellings.parts_of(fact) if name in near else tellings.subject_of(fact))
            for name, fact in self._open_facts(state)
        ]
        for where, fact in own:
            if fact.sealed is not None:
                with suppress(Damaged):
                    parts.append((where, tellings.parts_of(self.open(fact.sealed).fact)))
        for name, telling in parts:
            if any(tellings.tells(text, telling) for text in told):
                raise UsageError(f"this names the personal fact of {name}, and the log keeps what is written here")

    def refuse_clear(self, state: State, facts: Iterable[Fact]) -> None:
        """See that none of these facts, about to be recorded in the clear, is one that an edit holds as personal.

        Also one that was reverted: it could be erased until then.

        One whose key is not here is passed over: who cannot read it cannot compare it either.

        Raises:
            Refused: one of them is.
        """
        asked = {tellings.same(fact.key) for fact in facts if fact.sealed is None}
        for where, fact in self._open_facts(state) if asked else ():
            if tellings.same(fact.key) in asked:
                ended = f"erase it first (`errata erase {where}`)" if where.startswith("e") else "withdraw that first"
                raise Refused(
                    f"{where} holds this as a personal fact, and the log would keep it in the clear forever; "
                    f"edit it as one (`errata edit --personal`), or {ended}",
                    holds=where,
                )

    def token_of(self, state: State, key: tuple[str, str]) -> str | None:
        """The token of the personal fact that says something of this subject and prompt, if there is one.

        Raises:
            FactSealed, BlobMissing, BlobDamaged: a fact cannot be read, so that nobody can say.
        """
        for _, sealed in (*sealed_edits(state), *waiting_facts(state)):
            if self.open(sealed).fact.key == key:
                return sealed.token
        return None


def _live_facts(state: State, opened: Mapping[int, EditRecord]) -> dict[tuple[str, str], int]:
    facts = state.live_facts.items()
    return {opened[number].key if number in opened else key: number for key, number in facts}
