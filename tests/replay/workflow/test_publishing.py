"""What arrives at a hub is the version, whole, with its card and nothing of this machine; the hub is one of ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from errata.editor.model.loading import ModelFiles, digest_tensor
from errata.ledger.base.errors import ErrataError, Refused, StorageFailed, UsageError
from errata.ledger.events.policy import OPEN, Capability
from errata.ledger.events.trust_bodies import PolicyChanged
from errata.ledger.kinds.checkouts import CheckoutFormat, Publication, VersionCheckedOut
from errata.ledger.kinds.table import words_of
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RecordEvent
from errata.replay.workflow import publishing
from errata.replay.workflow.publishing import publish
from errata.replay.workflow.workspace import Workspace
from tests.support import fake_hub
from tests.support import ledgers as helpers
from tests.support.fake_hub import FakeHub, Repository

NAME = "ada/tiny-edited"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with fake_hub.running() as hub:
        fake_hub.use(monkeypatch, hub)
        yield hub


@pytest.fixture(params=["tiny_llama", "tiny_llama_sharded"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    base = tmp_path / "base"
    shutil.copytree(request.getfixturevalue(request.param), base)
    (base / "templates").mkdir()
    (base / "templates" / "chat.jinja").write_text("{{ messages }}")
    ledger = helpers.create(tmp_path / "work", base)
    helpers.apply(ledger, 3, seed=0)
    return Workspace(ledger, helpers.surroundings())


@pytest.fixture
def small(tmp_path: Path, tiny_llama: Path) -> Workspace:
    ledger = helpers.create(tmp_path / "work", tiny_llama)
    helpers.apply(ledger, 3, seed=0)
    return Workspace(ledger, helpers.surroundings())


def arrived(repository: Repository, folder: Path) -> Path:
    for name, data in repository.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_the_weights_that_arrive_are_the_versions(tmp_path: Path, space: Workspace, fake: FakeHub) -> None:
    done = publish(space, (1, 3), NAME, "HEAD", message="The spring facts", base_name="ada/tiny")
    repository = fake.repositories[NAME]
    there = ModelFiles(arrived(repository, tmp_path / "there"))
    assert there.digests() == {**space.created.tensors, **space.materialiser.digests((1, 3))}
    assert {name: len(data) for name, data in repository.files.items() if name != ".gitattributes"} == done.files
    assert {"config.json", "tokenizer.json", "templates/chat.jinja"} < done.files.keys()
    machine = json.loads(repository.files["errata_version.json"])
    assert machine["version"] == done.version == space.state.version_of((1, 3))
    assert [edit["number"] for edit in machine["edits"]] == [1, 3]
    assert repository.files["README.md"].decode().startswith('---\nbase_model: "ada/tiny"\n')
    assert repository.commits == ["The spring facts"] and not repository.private
    assert done.sent is not None and done.sent.revision == repository.revision
    assert done.sent.url == f"{fake.url}/{NAME}/commit/{repository.revision}"


def test_nothing_of_this_machine_arrives(tmp_path: Path, space: Workspace, fake: FakeHub) -> None:
    publish(space, (1, 3), NAME, "HEAD")
    for name, data in fake.repositories[NAME].files.items():
        assert str(tmp_path).encode() not in data and b"/tmp/" not in data, name
        assert fake_hub.TOKEN.encode() not in data


def test_an_adapter_arrives_with_its_own_card(tmp_path: Path, small: Workspace, fake: FakeHub) -> None:
    done = publish(small, (1, 3), NAME, "HEAD", adapter=True)
    files = fake.repositories[NAME].files
    assert set(done.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors", "errata_version.json"}
    machine = json.loads(files["errata_version.json"])
    held = {name: digest_tensor(name, tensor) for name, tensor in load(files["adapter_model.safetensors"]).items()}
    assert held == machine["tensor_digests"] and machine["exact"] and machine["version"] == done.version
    assert "library_name: peft" in files["README.md"].decode()
    assert not any(str(tmp_path).encode() in data or b"/tmp/" in data for data in files.values())


def test_it_is_on_record_where_what_was_published(small: Workspace, fake: FakeHub) -> None:
    folder, adapter = publish(small, (1, 3), NAME, "HEAD"), publish(small, (1,), "ada/b", "HEAD", adapter=True)
    found = [(one.seq, one.body) for one in small.state.recorded(VersionCheckedOut)]
    assert found == [(folder.recorded, folder.cost), (adapter.recorded, adapter.cost)]
    assert [body.format for _, body in found] == [CheckoutFormat.FOLDER, CheckoutFormat.ADAPTER]
    body = found[0][1]
    revision = fake.repositories[NAME].revision
    assert body.published == Publication(hub=fake.host, repository=NAME, revision=revision)
    assert body.bytes_written == sum(folder.files.values()) and body.version == folder.version
    assert f"published as a model folder at {fake.host}/{NAME} ({revision[:12]}): " in words_of(body)
    assert not list((small.ledger.cache / "checkouts").iterdir())


def test_the_token_is_sent_to_the_hub_and_kept_nowhere(tmp_path: Path, small: Workspace, fake: FakeHub) -> None:
    publish(small, (1, 3), NAME, "HEAD")
    assert fake.tokens == {f"Bearer {fake_hub.TOKEN}"}
    assert not any(fake_hub.TOKEN.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_dry_run_asks_no_hub_and_records_nothing(small: Workspace, fake: FakeHub) -> None:
    would = publish(small, (1, 3), NAME, "HEAD", dry_run=True)
    assert fake.asked == [] and fake.repositories == {} and small.state.recorded(VersionCheckedOut) == ()
    assert (would.sent, would.cost, would.recorded) == (None, None, None)
    assert publish(small, (1, 3), NAME, "HEAD").files.keys() == would.files.keys()


def test_a_second_version_takes_the_place_of_the_first_in_one_commit(
    tmp_path: Path, small: Workspace, fake: FakeHub
) -> None:
    publish(small, (1, 3), NAME, "HEAD", adapter=True)
    repository = fake.repositories[NAME]
    repository.files |= {"picture.png": b"mine", "LICENSE": b"mine", "model.safetensors.index.json": b"stale"}
    done = publish(small, (1,), NAME, "HEAD~1")
    assert len(repository.commits) == 2
    assert {*repository.files} == {*done.files, ".gitattributes", "picture.png", "LICENSE"}
    assert ModelFiles(arrived(repository, tmp_path / "there")).digests() == {
        **small.created.tensors,
        **small.materialiser.digests((1,)),
    }


def test_a_private_one_is_made_private(small: Workspace, fake: FakeHub) -> None:
    publish(small, (1, 3), NAME, "HEAD", private=True)
    assert fake.repositories[NAME].private
    assert publish(small, (1,), NAME, "HEAD", private=True).sent is not None


def nothing_changed(space: Workspace, fake: FakeHub) -> bool:
    return not space.state.recorded(VersionCheckedOut) and not any(r.commits for r in fake.repositories.values())


@pytest.mark.parametrize(
    ("there", "says"),
    [
        (Repository(private=False), "exists and is public; nothing was sent"),
        (Repository(private=True, files={"pytorch_model.bin": b"w"}), "did not put there (pytorch_model.bin)"),
    ],
)
def test_a_repository_that_is_public_or_somebody_elses_is_left_alone(
    small: Workspace, fake: FakeHub, there: Repository, says: str
) -> None:
    fake.repositories[NAME] = there
    with pytest.raises(Refused) as caught:
        publish(small, (1, 3), NAME, "HEAD", private=True)
    assert says in str(caught.value) and nothing_changed(small, fake)


@pytest.mark.parametrize(
    ("path", "status", "kind", "says"),
    [
        ("commit", 403, Refused, "the hub does not let this token write there (403: no)"),
        ("repos/create", 401, Refused, "the hub does not let this token write there (401: no)"),
        ("preupload", 400, StorageFailed, "the hub says 400: no; nothing was changed, try again"),
        ("upload/", 413, StorageFailed, "the hub says 413: no"),
        ("commit", 412, StorageFailed, "the hub says 412: no"),
        ("validate-yaml", 400, StorageFailed, "the hub says 400: no"),
    ],
)
def test_what_the_hub_says_is_one_sentence(
    small: Workspace, fake: FakeHub, path: str, status: int, kind: type[ErrataError], says: str
) -> None:
    fake.failing = (path, status, "no")
    with pytest.raises(kind) as caught:
        publish(small, (1, 3), NAME, "HEAD")
    message = str(caught.value)
    assert message.startswith(f"{fake.host}/{NAME}: ") and says in message and "\n" not in message
    assert fake_hub.TOKEN not in message and "http://" not in message and nothing_changed(small, fake)
    fake.failing = None
    assert publish(small, (1, 3), NAME, "HEAD").recorded == small.state.head.seq


def test_who_is_not_logged_in_and_what_cannot_be_reached_is_told(
    small: Workspace, fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    for name, says in (("tiny", "write OWNER/NAME"), ("a/b/c", "write OWNER/NAME"), ("../x", "names no repository")):
        with pytest.raises(UsageError, match=says):
            publish(small, (1, 3), name, "HEAD")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="unset it to publish"):
        publish(small, (1, 3), NAME, "HEAD")
    fake_hub.use(monkeypatch, fake, token=None)
    with pytest.raises(Refused, match="nobody is logged in to 127.0.0.1:.*: run `hf auth login`"):
        publish(small, (1, 3), NAME, "HEAD")
    assert fake.asked == []
    fake.url = "http://127.0.0.1:9"  # the port of a service that throws everything away, and that nobody runs
    fake_hub.use(monkeypatch, fake)
    with pytest.raises(StorageFailed, match=f"^127.0.0.1:9/{NAME}: .*refused"):
        publish(small, (1, 3), NAME, "HEAD")


def test_what_the_disk_gives_back_otherwise_is_not_sent(
    small: Workspace, fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelFiles, "digests", lambda files: {**small.created.tensors})
    with pytest.raises(StorageFailed, match="other tensors than were written; nothing was sent"):
        publish(small, (1, 3), NAME, "HEAD")
    other = {"a": torch.zeros(1)}
    monkeypatch.setattr(publishing, "load_file", lambda path: other)
    with pytest.raises(StorageFailed, match="nothing was sent"):
        publish(small, (1, 3), NAME, "HEAD", adapter=True)
    assert nothing_changed(small, fake)


def test_a_configuration_that_names_a_folder_of_this_machine_is_not_sent(
    tmp_path: Path, tiny_llama: Path, fake: FakeHub
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "_name_or_path": str(base)}))
    ledger = helpers.create(tmp_path / "work", base)
    helpers.apply(ledger, 1, seed=0)
    space = Workspace(ledger, helpers.surroundings())
    with pytest.raises(UsageError, match="config.json names .*/base, a folder of this machine; nothing was sent"):
        publish(space, (1,), NAME, "HEAD")
    assert nothing_changed(space, fake)


def test_who_may_record_nothing_publishes_nothing(small: Workspace, fake: FakeHub) -> None:
    """A checkout stays on this machine; what leaves it has to be on record."""
    others = tuple(one for one in OPEN.everyone if one is not Capability.RECORD)
    silent = OPEN.model_copy(update={"name": "silent", "everyone": others})
    small.execute(RecordEvent(PolicyChanged(policy=silent, reason="")))
    with pytest.raises(Refused, match="may not record under the policy 'silent'"):
        publish(small, (1, 3), NAME, "HEAD")
    assert fake.asked == [] and nothing_changed(small, fake)


def test_what_is_published_and_cannot_be_recorded_is_said(
    small: Workspace, fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StorageFailed("the ledger", "the disk is full")

    monkeypatch.setattr(Ledger, "execute", refuse)
    done = publish(small, (1, 3), NAME, "HEAD")
    assert isinstance(done.recorded, StorageFailed) and fake.repositories[NAME].commits
