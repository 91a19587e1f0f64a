"""The second moments that a ledger begins with: the model's own text, interruptions, and files of second moments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from errata.editor.preserve.own_text import OwnText, write_batch, write_few
from errata.editor.preserve.stats import StatsSettings, own_tokens
from errata.ledger.base.canonical import digest
from errata.ledger.base.errors import BlobMissing, Damaged, Refused, UsageError
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.ledger import Ledger
from errata.ledger.store.blobs import FolderBlobs
from errata.replay.tune.tuning import Workbench
from errata.replay.workflow import begun as begun_module
from errata.replay.workflow.begun import FOLDER
from errata.replay.workflow.genesis import FISHER, Genesis, compare_stats, create_ledger
from errata.replay.workflow.moments import texts_of
from errata.replay.workflow.stats_file import encode_moment, export_stats
from errata.replay.workflow.workspace import Workspace
from tests.support.collecting import gc
from tests.support.editing import DOCUMENTS, FACTS, SETTINGS, load
from tests.support.workspaces import surroundings

STATS = StatsSettings(max_tokens=300, batch_size=2)
WITH_FISHER = {**SETTINGS, "step_length": 0.1, "fisher_weight": 1.0}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few tokens a batch, so that there are several."""
    monkeypatch.setattr(
        "errata.replay.workflow.moments.OwnText", lambda tokens, seed: OwnText(tokens, seed, length=12, rows=4)
    )


def genesis(model: Path, corpus: Path | None = None, **changes: Any) -> Genesis:
    return replace(Genesis(str(model), corpus, SETTINGS, STATS, context_prompts=1), **changes)


def corpus_at(folder: Path) -> Path:
    path = folder / "corpus.txt"
    path.write_text("\n".join(DOCUMENTS), encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    objects = folder / ".errata" / "objects"
    return {str(path.relative_to(objects)): path.read_bytes() for path in objects.rglob("*") if path.is_file()}


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def interrupt_at(sampling: int, averaging: int) -> Any:
    """Interrupts when it is told so many times of one of the two."""
    left = {"sampling": sampling, "averaging": averaging}

    def advance(what: str, done: int, total: int) -> None:
        assert done <= total
        if (name := what.split()[0]) in left and total:
            left[name] -= 1
            if left[name] < 0:
                raise Interrupted

    return advance


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_gpt2"])
def test_without_a_corpus_the_model_writes_one_that_is_kept_and_named(
    model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    ledger = create_ledger(tmp_path / "a", genesis(folder), surroundings())
    created = ledger.state().genesis
    assert created.corpus is not None and created.corpus.blob is not None
    assert (created.corpus.source, created.corpus.seed) == ("sampled", 0)
    assert len(texts_of(ledger.blobs.get(created.corpus.blob))) >= 300 / 12
    (stats,) = created.stats.values()
    assert 200 < stats.tokens <= 300
    assert [recorded == now for _, recorded, now in compare_stats(created, ledger.blobs, None, None)] == [True]
    assert len(created.reference_texts) == 8 and all(created.reference_texts)
    again = create_ledger(tmp_path / "b", genesis(folder), surroundings())
    assert again.state().head == ledger.state().head
    other = create_ledger(tmp_path / "c", genesis(folder, settings={**SETTINGS, "seed": 1}), surroundings())
    assert other.state().genesis.corpus != created.corpus
    assert other.state().genesis.reference_texts != created.reference_texts


def test_a_corpus_file_is_named_by_its_digest_and_stays_where_it_is(tmp_path: Path, tiny_llama: Path) -> None:
    ledger = create_ledger(tmp_path, genesis(tiny_llama, corpus_at(tmp_path)), surroundings())
    created = ledger.state().genesis
    assert created.corpus is not None
    assert (created.corpus.source, created.corpus.seed, created.corpus.blob) == ("file", None, None)
    with pytest.raises(UsageError, match="--corpus FILE"):
        list(compare_stats(created, ledger.blobs, None, None))


@pytest.mark.parametrize("skip_first", [None, 0, 1])
def test_how_a_corpus_file_was_read_is_told_by_the_digests(
    tmp_path: Path, tiny_gpt2: Path, skip_first: int | None
) -> None:
    stats = StatsSettings(max_tokens=300, skip_first=skip_first)
    ledger = create_ledger(tmp_path, genesis(tiny_gpt2, corpus_at(tmp_path), stats=stats), surroundings())
    created = ledger.state().genesis
    rows = list(compare_stats(created, ledger.blobs, corpus_at(tmp_path), 300))
    assert [recorded == now for _, recorded, now in rows] == [True]
    assert [recorded == now for _, recorded, now in compare_stats(created, ledger.blobs, corpus_at(tmp_path), 200)] == [
        False
    ]


def test_the_text_is_referred_to_as_second_moments_are(tmp_path: Path, tiny_llama: Path) -> None:
    ledger = create_ledger(tmp_path, genesis(tiny_llama), surroundings())
    corpus = ledger.state().genesis.corpus
    assert corpus is not None and corpus.blob is not None
    assert not gc(tmp_path / ".errata").dropped
    assert is_sound(verify(ledger))
    ledger.blobs.path(corpus.blob).unlink()
    with pytest.raises(BlobMissing):
        ledger.blobs.get(corpus.blob)
    assert not is_sound(verify(ledger))


def test_a_batch_of_text_depends_on_no_other(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    how = OwnText(100, seed=3, length=12, rows=4)
    assert write_batch(loaded, how, 4, 4) == write_batch(loaded, how, 4, 4) != write_batch(loaded, how, 0, 4)
    assert write_batch(loaded, replace(how, seed=4), 4, 4) != write_batch(loaded, how, 4, 4)
    assert write_batch(loaded, replace(how, purpose="reference"), 4, 4) != write_batch(loaded, how, 4, 4)
    assert [how.rows_for(tokens) for tokens in (100, 48, 12, 1)] == [4, 4, 4, 4]
    assert [replace(how, rows=32).rows_for(tokens) for tokens in (400, 100, 12)] == [32, 9, 4]


def test_more_columns_take_more_of_a_models_own_text() -> None:
    assert [own_tokens(width) for width in (64, 2048, 14_336)] == [8_192, 8_192, 57_344]


def test_other_layers_are_tried_over_the_text_that_the_model_wrote(tmp_path: Path, tiny_llama: Path) -> None:
    two = genesis(tiny_llama, settings={**SETTINGS, "layers": "1,2"})
    both = create_ledger(tmp_path / "two", two, surroundings())
    ledger = create_ledger(tmp_path / "one", genesis(tiny_llama), surroundings())
    bench = Workbench(Workspace(ledger, surroundings()), [1, 2], None, 4)
    (expected,) = (ref.blob for ref in both.state().genesis.stats.values() if ref.layer == 2)
    assert digest("blob", encode_moment(bench._matrices[2].second_moment)) == expected
    filed = create_ledger(tmp_path / "file", genesis(tiny_llama, corpus_at(tmp_path)), surroundings())
    with pytest.raises(UsageError, match="--corpus FILE"):
        Workbench(Workspace(filed, surroundings()), [1, 2], None, 4)


def test_a_few_texts_are_as_many_as_asked_for(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    texts = write_few(loaded, 3, 10, seed=0, purpose="reference")
    assert len(texts) == 3 and texts == write_few(loaded, 3, 10, seed=0, purpose="reference")


@pytest.mark.parametrize(("settings", "batches"), [(SETTINGS, 1), (WITH_FISHER, 2)])
@pytest.mark.parametrize("own", [True, False])
def test_an_interrupted_start_goes_on_and_gives_the_bits_of_one_that_was_not(
    own: bool,
    settings: dict[str, object],
    batches: int,
    tmp_path: Path,
    tiny_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(begun_module, "KEEP_EVERY", 0.0)
    corpus = None if own else corpus_at(tmp_path)
    given = genesis(tiny_llama, corpus, settings=settings)
    create_ledger(tmp_path / "whole", given, surroundings())
    folder, said, interruptions = tmp_path / "again", list[str](), 0
    while not (folder / ".errata").exists():  # a batch has 12 steps: each run gets one batch further
        try:
            create_ledger(folder, given, surroundings(), interrupt_at(15, batches), said.append)
        except Interrupted:
            interruptions += 1
            assert (folder / FOLDER).is_dir() and not (folder / ".errata").exists()
    assert interruptions >= 3
    assert contents(folder) == contents(tmp_path / "whole")
    assert Ledger.open(folder).state().head == Ledger.open(tmp_path / "whole").state().head
    assert not (folder / FOLDER).exists()
    assert any("going on from" in line for line in said)


@pytest.mark.parametrize("harm", ["other inputs", "flipped", "cut", "text"])
def test_what_an_interrupted_start_left_is_used_only_if_it_is_right(
    harm: str, tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begun_module, "KEEP_EVERY", 0.0)
    corpus = corpus_at(tmp_path)
    create_ledger(tmp_path / "whole", genesis(tiny_llama, corpus), surroundings())
    folder = tmp_path / "again"
    with pytest.raises(Interrupted):
        create_ledger(folder, genesis(tiny_llama, corpus), surroundings(), interrupt_at(99, 3))
    (kept,) = (path for path in (folder / FOLDER).rglob("*") if path.is_file())
    data = bytearray(kept.read_bytes())
    if harm == "other inputs":
        corpus.write_text(corpus.read_text() + "\nOne more line.\n")
        create_ledger(tmp_path / "longer", genesis(tiny_llama, corpus), surroundings())
    elif harm == "flipped":
        data[-100] ^= 1
        kept.write_bytes(data)
    elif harm == "cut":
        kept.write_bytes(data[: len(data) // 2])
    else:
        kept.write_text("not tensors")
    said = list[str]()
    create_ledger(folder, genesis(tiny_llama, corpus), surroundings(), say=said.append)
    whole = tmp_path / ("longer" if harm == "other inputs" else "whole")
    assert contents(folder) == contents(whole)
    assert any("not used" in line for line in said)
    assert not (folder / FOLDER).exists()


@pytest.mark.parametrize("own", [True, False])
def test_a_ledger_begun_with_exported_second_moments_is_the_one_that_they_come_from(
    own: bool, tmp_path: Path, tiny_llama: Path
) -> None:
    given = genesis(tiny_llama, None if own else corpus_at(tmp_path))
    first = create_ledger(tmp_path / "a", given, surroundings())
    record = export_stats(first, tmp_path / "moments.safetensors")
    assert record.corpus == first.state().genesis.corpus
    taken = replace(given, corpus=None, stats=None, moments=tmp_path / "moments.safetensors")
    second = create_ledger(tmp_path / "b", taken, surroundings())
    assert second.state().head == first.state().head
    assert contents(tmp_path / "b") == contents(tmp_path / "a")
    with pytest.raises(UsageError, match="exists; name a file"):
        export_stats(first, tmp_path / "moments.safetensors")
    with pytest.raises(UsageError, match="either it or a corpus"):
        create_ledger(tmp_path / "c", replace(taken, stats=STATS), surroundings())


def test_some_layers_of_a_file_are_enough_and_others_are_refused(tmp_path: Path, tiny_llama: Path) -> None:
    two = genesis(tiny_llama, corpus_at(tmp_path), settings={**SETTINGS, "layers": "1,2"})
    file = tmp_path / "moments.safetensors"
    export_stats(create_ledger(tmp_path / "two", two, surroundings()), file)
    taken = genesis(tiny_llama, stats=None, moments=file)
    one = create_ledger(tmp_path / "one", taken, surroundings())
    assert [reference.layer for reference in one.state().genesis.stats.values()] == [1]
    with pytest.raises(UsageError, match=r"holds second moments of layers 1, 2, .* edit layers 1, 3"):
        create_ledger(tmp_path / "b", replace(taken, settings={**SETTINGS, "layers": "1,3"}), surroundings())


def test_second_moments_of_another_model_are_refused(tmp_path: Path, tiny_llama: Path, tiny_gpt2: Path) -> None:
    file = tmp_path / "moments.safetensors"
    export_stats(create_ledger(tmp_path / "a", genesis(tiny_llama), surroundings()), file)
    with pytest.raises(UsageError, match=r"another model: tensors and .*config\.json differ"):
        create_ledger(tmp_path / "b", genesis(tiny_gpt2, stats=None, moments=file), surroundings())
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("harm", ["matrix", "text", "no metadata", "no safetensors", "nothing"])
def test_a_damaged_file_of_second_moments_is_refused(harm: str, tmp_path: Path, tiny_llama: Path) -> None:
    file = tmp_path / "moments.safetensors"
    export_stats(create_ledger(tmp_path / "a", genesis(tiny_llama), surroundings()), file)
    with safe_open(file, framework="pt") as handle:
        metadata, tensors = handle.metadata(), {name: handle.get_tensor(name) for name in sorted(handle.keys())}
    if harm == "matrix":
        tensors["layer.1"][0, 0] += 1e-9
    elif harm == "text":
        tensors["corpus"] = torch.zeros(3, dtype=torch.uint8)
    save_file(tensors, file, metadata=None if harm == "no metadata" else metadata)
    if harm == "no safetensors":
        file.write_text("second moments")
    if harm == "nothing":
        file.unlink()
    with pytest.raises(Damaged if harm in ("matrix", "text") else UsageError, match="damaged|is not a file of|no file"):
        create_ledger(tmp_path / "b", genesis(tiny_llama, stats=None, moments=file), surroundings())
    assert not (tmp_path / "b").exists()


def test_a_ledger_that_is_there_is_refused_before_anything_is_sampled(tmp_path: Path, tiny_llama: Path) -> None:
    create_ledger(tmp_path, genesis(tiny_llama), surroundings())
    with pytest.raises(Refused):
        create_ledger(tmp_path, genesis(tiny_llama), surroundings(), interrupt_at(0, 0))


def test_the_fisher_information_is_recorded_where_the_settings_have_a_weight_for_it(
    tmp_path: Path, tiny_llama: Path
) -> None:
    plain = create_ledger(tmp_path / "plain", genesis(tiny_llama), surroundings())
    assert plain.state().genesis.fisher is None and Workspace(plain, surroundings()).information is None
    ledger = create_ledger(tmp_path / "a", genesis(tiny_llama, settings=WITH_FISHER), surroundings())
    created = ledger.state().genesis
    assert created.fisher is not None and created.fisher.layer == 1
    information = Workspace(ledger, surroundings()).information
    assert information is not None and information.shape == (created.edited[next(iter(created.edited))].shape[0],) * 2
    rows = list(compare_stats(created, ledger.blobs, None, None))
    assert [name for name, _, _ in rows] == [*created.stats, FISHER]
    assert all(recorded == now for _, recorded, now in rows)
    assert not gc(tmp_path / "a" / ".errata").dropped
    FolderBlobs(tmp_path / "a" / ".errata" / "objects", tmp_path / "lock").path(created.fisher.blob).unlink()
    assert not is_sound(verify(ledger))


def test_a_file_brings_the_fisher_information_or_is_refused(tmp_path: Path, tiny_llama: Path) -> None:
    given = genesis(tiny_llama, settings=WITH_FISHER)
    first = create_ledger(tmp_path / "a", given, surroundings())
    export_stats(first, tmp_path / "with.safetensors")
    taken = replace(given, stats=None, moments=tmp_path / "with.safetensors")
    assert create_ledger(tmp_path / "b", taken, surroundings()).state().head == first.state().head
    export_stats(create_ledger(tmp_path / "c", genesis(tiny_llama), surroundings()), tmp_path / "without.safetensors")
    with pytest.raises(UsageError, match="does not hold the Fisher information after layer 1"):
        create_ledger(tmp_path / "d", replace(taken, moments=tmp_path / "without.safetensors"), surroundings())


def test_trials_of_other_layers_collect_the_fisher_information_that_they_need(tmp_path: Path, tiny_llama: Path) -> None:
    ledger = create_ledger(tmp_path / "one", genesis(tiny_llama, settings=WITH_FISHER), surroundings())
    own = Workspace(ledger, surroundings())
    bench = Workbench(own, [1, 2], None, 4)
    base = bench.baseline(FACTS[:1], ())
    tried = bench.measure(0, own.config().updated({"layers": [2]}), FACTS[:1], base)
    assert not tried.failed and tried.scores is not None
    two = genesis(tiny_llama, settings={**WITH_FISHER, "layers": "2"})
    expected = Workspace(create_ledger(tmp_path / "two", two, surroundings()), surroundings()).information
    assert expected is not None and torch.equal(bench._information_after(2), expected)
