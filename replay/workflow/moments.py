"""The second moments that a ledger begins with, over a corpus file or over text of the model's own.

Text of the model's own is kept as a blob, so that it can be read and its digest made again; a corpus file stays where
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from errata.editor.config import EditConfig
from errata.editor.model import adapter_files
from errata.editor.model.loading import LoadedModel
from errata.editor.preserve.fisher import fisher, fisher_digest, fisher_settings
from errata.editor.preserve.own_text import OwnText, Sampled, write_batch
from errata.editor.preserve.stats import (
    SecondMoment,
    StatsSettings,
    collect,
    keys_in,
    own_tokens,
    settings_for,
    stats_digest,
)
from errata.ledger.base.canonical import canonical_bytes, digest, file_digest, parse, value_digest
from errata.ledger.base.errors import Damaged, UsageError
from errata.ledger.events.bodies import LedgerCreated
from errata.ledger.events.parts import CorpusRef
from errata.ledger.store.blobs import BlobStore
from errata.replay.workflow.begun import Begun

CORPUS_DOMAIN = "corpus"

_SETTINGS = TypeAdapter(StatsSettings)

Advance = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is in all; 0 and 0 where it is not counted."""


@dataclass(frozen=True)
class Identity:
    """Whose keys second moments are of.

    Attributes:
        base, tokenizer, config: digests of the model's tensors, its tokenizer and its configuration.
    """

    base: str
    tokenizer: str
    config: str


@dataclass(frozen=True)
class SourcedMoment:
    """A second moment, and the digest of what it was made from."""

    found: SecondMoment
    digest: str


@dataclass(frozen=True)
class Moments:
    """What a ledger begins with.

    Attributes:
        corpus: the text; None where a file of second moments comes from a ledger that did not record it.
        text: the text itself, if the model wrote it.
        moments: one for each edited layer.
        fisher: the Fisher information of the hidden state after the last of them, where it is wanted.
    """

    corpus: CorpusRef | None
    text: bytes | None
    moments: tuple[SourcedMoment, ...]
    fisher: SourcedMoment | None = None


def moments_over(
    loaded: LoadedModel,
    identity: Identity,
    config: EditConfig,
    corpus: Path | None,
    settings: StatsSettings | None,
    begun: Begun,
    bound: Any,
    advance: Advance,
) -> Moments:
    """Collect second moments over a corpus file, or over text that the model writes, and the Fisher information.

    Args:
        loaded: the base model.
        identity: its digests.
        config: the edited layers, the seed of what is drawn, and whether the Fisher information is wanted.
        corpus: the file; None has the model write text.
        settings: how much text, in what pieces; the usual ones if None.
        begun: what an interrupted start left.
        bound: JSON of what else the bits depend on, such as versions of software and the device.
        advance: told how far it is.

    Raises:
        UsageError: the corpus is not UTF-8 text, or gives no key.
        ModelError: the model computes NaN or infinity.
    """
    layers, seed = config.layers, config.seed
    if settings is None:
        width = max(loaded.adapter.shape(loaded.model, layer)[1] for layer in layers)
        settings = settings_for(own_tokens(width) if corpus is None else None)
    settings = replace(settings, skip_first=settings.skipped(loaded.tokenizer))
    inputs = {**asdict(identity), "adapter": adapter_files.to_record(loaded.adapter).plain(), "bound": bound}
    text: bytes | None = None
    texts: Callable[[], Iterable[str]]
    if corpus is None:
        text = own_text(loaded, OwnText(settings.max_tokens, seed), settings, inputs, begun, advance)
        reference = CorpusRef(source="sampled", digest=digest(CORPUS_DOMAIN, text), seed=seed)
        texts = partial(texts_of, text)
    else:
        reference = CorpusRef(source="file", digest=file_digest(CORPUS_DOMAIN, corpus))
        texts = partial(documents, corpus)
    what = "averaging keys over the corpus" if corpus is not None else "averaging keys over the model's own text"
    total = keys_in(loaded, texts(), settings)
    key = value_digest(
        "sums", {**inputs, "corpus": reference.digest, "layers": list(layers), "settings": asdict(settings)}
    )
    found = collect(
        loaded,
        texts(),
        layers,
        settings,
        lambda tokens: advance(what, tokens, total),
        begun.sums(key, layers),
        lambda sums: begun.keep_sums(key, sums),
    )
    moments = (
        SourcedMoment(one, stats_digest(identity.base, identity.tokenizer, reference.digest, one.layer, settings))
        for one in found
    )
    information = None
    if config.fisher_weight > 0:
        layer = layers[-1]
        read = fisher_settings(loaded.adapter.shape(loaded.model, layer)[0], settings)
        name = fisher_digest(identity.base, identity.tokenizer, reference.digest, layer, read, seed)
        own = value_digest("fisher sums", {**inputs, "digest": name})
        most = min(total, read.max_tokens)
        measured = fisher(
            loaded,
            texts(),
            layer,
            read,
            seed,
            lambda tokens: advance("averaging gradients over the same text", tokens, most),
            begun.sums(own, [layer], "fisher"),
            lambda sums: begun.keep_sums(own, sums, "fisher"),
        )
        information = SourcedMoment(measured, name)
    return Moments(reference, text, tuple(moments), information)


def own_text(
    loaded: LoadedModel, how: OwnText, settings: StatsSettings, inputs: dict[str, Any], begun: Begun, advance: Advance
) -> bytes:
    """Text of the model's own, as a corpus: canonical JSON of how it is sampled and read, and of the texts."""
    what = "sampling text of the model's own"
    key = value_digest("own text", {**inputs, "how": asdict(how)})
    batches: list[Sampled] = begun.texts(key)
    while (done := sum(batch.tokens for batch in batches)) < how.tokens:

        def count(tokens: int, before: int = done) -> None:
            advance(what, min(before + tokens, how.tokens), how.tokens)

        written = sum(len(batch.texts) for batch in batches)
        batches.append(write_batch(loaded, how, written, how.rows_for(how.tokens - done), count))
        begun.keep_texts(key, batches)
    texts = [text for batch in batches for text in batch.texts]
    return canonical_bytes({"sampled": asdict(how), "read": asdict(settings), "texts": texts})


@dataclass(frozen=True)
class Text:
    """Text that second moments are averaged over: its documents, its digest, and how it is read."""

    documents: Callable[[], Iterable[str]]
    digest: str
    settings: StatsSettings


def text_behind(created: LedgerCreated, blobs: BlobStore, corpus: Path | None, max_tokens: int | None = None) -> Text:
    """The text behind a ledger's second moments.

    Args:
        created: the first event.
        blobs: the ledger's.
        corpus: the corpus file; None takes the text that the model wrote itself, and how it was read.
        max_tokens: as it was given at genesis, for a file.

    Raises:
        UsageError: a file is needed and not given, or not there.
        BlobMissing, BlobDamaged: the model's own text is not as it was recorded.
        Damaged: it is not in the form that such text is kept in.
    """
    if corpus is not None:
        require_corpus(corpus)
        found = file_digest(CORPUS_DOMAIN, corpus)
        return Text(partial(documents, corpus), found, _settings_behind(created, found, settings_for(max_tokens)))
    text = stored_text(created.corpus, blobs)
    if text is None:
        raise UsageError("the text behind the second moments is a corpus file; give it as --corpus FILE")
    settings, texts = _own(text)
    return Text(lambda: texts, digest(CORPUS_DOMAIN, text), settings)


def _settings_behind(created: LedgerCreated, corpus: str, settings: StatsSettings) -> StatsSettings:
    """How a file was read at genesis: with or without the first position of each piece, as its digests tell."""
    recorded = {(one.layer, one.digest) for one in created.stats.values()}
    for skip_first in (0, 1):
        settings = replace(settings, skip_first=skip_first)
        now = (
            (one.layer, stats_digest(created.base_digest, created.tokenizer_digest, corpus, one.layer, settings))
            for one in created.stats.values()
        )
        if not recorded.isdisjoint(now):
            break
    return settings


def texts_of(corpus: bytes) -> list[str]:
    """The texts of a corpus that `own_text` wrote.

    Raises:
        Damaged: it is none.
    """
    return _own(corpus)[1]


def _own(corpus: bytes) -> tuple[StatsSettings, list[str]]:
    try:
        match parse(corpus):
            case {"read": read, "texts": [*texts]} if all(isinstance(text, str) for text in texts):
                return _SETTINGS.validate_python(read), [str(text) for text in texts]
    except ValueError:
        pass
    raise Damaged("the text behind the second moments is not in the form that a model's own text is kept in")


def stored_text(reference: CorpusRef | None, blobs: BlobStore) -> bytes | None:
    """The text of the model's own behind a ledger's second moments; None if it was not the model's own.

    Raises:
        BlobMissing, BlobDamaged: it is not as it was recorded.
    """
    return None if reference is None or reference.blob is None else blobs.get(reference.blob)


def require_corpus(path: Path) -> None:
    """Refuse a corpus that is not there.

    Raises:
        UsageError: saying what a corpus is.
    """
    if not path.is_file():
        raise UsageError(f"no corpus at {path}: a text file with one document a line")


def documents(path: Path) -> Iterator[str]:
    """The documents of a corpus, its lines, read as they are needed.

    Raises:
        UsageError: if the file is not UTF-8 text.
    """
    with path.open(encoding="utf-8") as lines:
        try:
            yield from lines
        except UnicodeDecodeError:
            raise UsageError(f"{path} is not UTF-8 text") from None
