"""The Python door: light to import, the same words and answers as the commands, and pages that say what it does."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import errata
from errata.commands.app import App
from errata.door.given import facts_of
from errata.door.results import Result
from errata.ledger.secrets.key_files import KeyFolder
from errata.ledger.secrets.pem import ScryptCost
from tests.support.command_line import FACTS, SETTINGS, Errata, write_jsonl

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "The chief executive of Norwind Systems"


@pytest.fixture
def ledger(here: Path, monkeypatch: pytest.MonkeyPatch) -> errata.OpenLedger:
    """The ledger of the commands' tests, of three edits."""
    monkeypatch.setenv("ERRATA_DIR", str(here))
    return errata.open(actor="ada")


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_it_loads_next_to_nothing() -> None:
    assert not loaded_by("import errata; errata.__version__") & {"click", "pydantic", "torch", "errata.door"}
    found = loaded_by("import errata; errata.open, errata.Fact, errata.Suite, errata.ErrataError")
    assert not found & {"torch", "transformers", "numpy", "safetensors", "rich", "pandas"}


def test_every_name_is_there_and_no_other() -> None:
    names = {*errata.__all__, "ErrataError", "Fact", "Metric", "Probe", "Suite"}
    assert names <= {*dir(errata)} and all(getattr(errata, name).__doc__ for name in names)
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        _ = errata.opne
    assert errata.Fact(subject="Riga", prompt="{} is", target="old").text == "Riga is"


def test_a_ledger_begins_and_opens_again(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ERRATA_DIR", "ERRATA_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "corpus.txt").write_text("Sentence number 1 speaks of office 2 in Riga.\n" * 30)
    chosen = dict(pair.split("=") for pair in SETTINGS)
    with errata.init(tiny_llama, "here", corpus="corpus.txt", layers=1, settings=chosen, max_tokens=100) as begun:
        assert begun.head.edits == ()
        assert begun.head == errata.open("here").head
    monkeypatch.chdir(tmp_path / "here")
    assert errata.open().head.digest == begun.head.digest  # found from the current folder
    assert begun.log()[0].actor not in ("", "grace")
    monkeypatch.setenv("ERRATA_ACTOR", "grace")
    assert errata.open().edit(FACTS[0]).edits == (1,)
    assert begun.log(1)[0].actor == "grace" and begun.head.edits == (1,)
    for odd, words in (((3,), "3 is not a fact"), ((FACTS[0], None), "None is not a fact")):
        with pytest.raises(errata.ErrataError, match=words):
            errata.open().edit(odd)
    with pytest.raises(errata.ErrataError, match="no method 'odd'; methods are encore, "):
        errata.open().edit(FACTS[0], method="odd")
    with pytest.raises(errata.ErrataError, match="no fewer than 0 candidates and 0 tokens, not 5 and -1"):
        errata.open().ask("Riga is", tokens=-1)
    with pytest.raises(errata.ErrataError, match="there is a ledger in"):
        errata.init(tiny_llama, corpus="../corpus.txt", layers=1, settings=chosen)


def test_facts_may_be_given_in_any_form(ledger: errata.OpenLedger, here: Path) -> None:
    record = {**FACTS[1], "target": "was"}
    file = write_jsonl(here / "one.jsonl", [record])
    fact = errata.Fact(**{**record, "paraphrases": tuple(record["paraphrases"]),
                          "locality": tuple(errata.Probe(**one) for one in record["locality"])})  # fmt: skip
    for given in (file, str(file), fact, [fact], record, [record], (one for one in [record])):
        assert facts_of(given) == [fact]
    tried = ledger.edit(fact, dry_run=True), ledger.edit(**record, dry_run=True)
    assert all(one.edits == () and one.version == ledger.head.digest for one in tried)
    shown = {re.sub(r"\d+\.\d s", "", str(one)) for one in tried}
    assert len(shown) == 1 and "What is the Harrow 9" in shown.pop()
    assert facts_of(fact, personal=True)[0].personal


@pytest.mark.parametrize("keywords", [{}, {"subject": "Riga", "prompt": "{} is"}, {"facts": FACTS[0], "subject": "x"}])
def test_facts_that_are_not_all_there_are_refused(ledger: errata.OpenLedger, keywords: dict[str, object]) -> None:
    head = ledger.head
    with pytest.raises(errata.ErrataError, match="subject, prompt and target"):
        ledger.edit(**keywords)  # type: ignore[arg-type]
    with pytest.raises(errata.ErrataError, match="exactly one"):
        ledger.edit(subject="Riga", prompt="It is", target="old")
    assert ledger.head == head


def test_bad_facts_may_be_skipped_and_are_told(ledger: errata.OpenLedger) -> None:
    good = {"subject": "Tern Foods", "prompt": "In Riga is {}", "target": "the"}
    given = [good, {**good, "prompt": "In Riga"}, {"colour": "red"}]
    with pytest.raises(errata.ErrataError, match="2 of 3 records are bad"):
        ledger.edit(given, dry_run=True)
    done = ledger.edit(given, dry_run=True, skip_bad=True)
    assert [line.partition(":")[0] for line in done.left_out] == ["record 2", "record 3"]


def test_what_was_recorded_before_an_error_is_told(ledger: errata.OpenLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    from errata.replay.workflow.workspace import Workspace

    execute, calls = Workspace.execute, []

    def fails_at_the_second(self: Workspace, *arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise errata.ErrataError("the disk is full")
        return execute(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Workspace, "execute", fails_at_the_second)
    records = [{**FACTS[0], "subject": "Tern Foods"}, {**FACTS[0], "subject": "Riga"}]
    with pytest.raises(errata.ErrataError) as caught:
        ledger.edit(records, batch_size=1)
    assert caught.value.fields["recorded"] == [4] and ledger.head.edits == (1, 2, 3, 4)


def test_it_answers_as_the_command_does(ledger: errata.OpenLedger, here: Path, errata: Errata) -> None:
    for at, without in (("HEAD", []), ("HEAD", ["e1"]), ("HEAD~1", []), ("base", [])):
        options = [word for edit in without for word in ("--without", edit)]
        told = errata("ask", PROMPT, "An office", "--at", at, "--top", "3", "--json", *options).json
        answers = ledger.ask([PROMPT, "An office"], at=at, top=3, without=without)
        assert answers.version == told["version"]
        assert [answer.text for answer in answers] == [one["text"] for one in told["answers"]]
        assert [one.token for one in answers.candidates] == [c["token"] for c in told["answers"][0]["candidates"]]
        assert answers.says == ledger.ask(PROMPT, at=at, without=without).says and len(answers) == 2
    assert ledger.show("e1").data == errata("show", "e1", "--json").json
    assert str(ledger.show("HEAD")) == errata("show", "HEAD").out.rstrip("\n")
    assert str(ledger.log()) == errata("log").out.rstrip("\n")
    assert [event.seq for event in ledger.log(2)] == [
        e["seq"] for e in errata("log", "-n", "2", "--json").json["events"]
    ]
    blamed = errata("blame", "--suite", "suite.jsonl", "--json").json
    ranking = ledger.blame(suite=here / "suite.jsonl")
    assert [one.edit for one in ranking.edits] == [one["edit"] for one in blamed["edits"]]
    assert str(ranking) == errata("blame", "--suite", "suite.jsonl").out.rstrip("\n")


def test_versions_are_named_taken_back_and_written_out(ledger: errata.OpenLedger, here: Path) -> None:
    assert ledger.tag("spring", note="three of them").tags == ("spring",)
    assert ledger.revert("e2", 3, reason="both wrong").edits == (1,)
    assert ledger.tags["spring"].edits == (1, 2, 3) and ledger.version("spring", without=["e2", 3]) == ledger.head
    with pytest.raises(errata.ErrataError, match="did you mean 'spring'"):
        ledger.ask(PROMPT, at="sprint")
    with pytest.raises(errata.ErrataError, match="which edits"):
        ledger.revert()
    ledger.untag("spring")
    assert ledger.tags == {}
    written = ledger.checkout("HEAD~1", here / "out", only=["e1"])
    assert written.version == ledger.head.digest and (written.folder / "README.md").is_file()
    assert f"@{written.seq} " in str(ledger.show("HEAD"))
    adapter = ledger.export_adapter("HEAD", here / "adapter")
    assert adapter.version == ledger.head.digest and (here / "adapter" / "adapter_config.json").is_file()
    kinds = [event.kind for event in ledger.log(2)]
    assert kinds == ["version_checked_out", "version_checked_out"]
    with pytest.raises(errata.ErrataError, match="not empty|holds"):
        ledger.checkout("HEAD", here / "out")


def test_versions_are_measured_and_the_bad_edit_is_found(ledger: errata.OpenLedger, here: Path) -> None:
    suite = errata.Suite(
        name="says", metric=errata.Metric.TARGET_PROBABILITY, probes=(errata.Probe(prompt=PROMPT, target="the"),)
    )
    head, base = ledger.evaluate(suite=here / "suite.jsonl"), ledger.evaluate("base", suite=suite)
    assert head.score > base.score and head.computed and head.record.n == 1
    assert not ledger.evaluate(suite=here / "suite.jsonl").computed
    assert ledger.evaluate(edits=True).record.n == 3 and ledger.evaluate(facts=here / "facts.jsonl").record.n == 3
    assert ledger.evaluate(facts=FACTS[:1]).record.suite == "facts"
    assert ledger.evaluate(corpus=here / "corpus.txt").score > 1
    with pytest.raises(errata.ErrataError, match="one of suite"):
        ledger.evaluate()
    ledger.edit({**FACTS[0], "target": "p"})
    threshold = (head.score + ledger.evaluate(suite=suite).score) / 2
    found = ledger.bisect("HEAD~1", suite=suite, threshold=threshold)
    assert found.culprit == 4 and "e4, which superseded e1" in str(found)
    assert ledger.log(1)[0].kind == "bisection_concluded"
    assert ledger.blame(prompt=PROMPT, target="the").edits
    with pytest.raises(errata.ErrataError, match="prompt with target"):
        ledger.blame(prompt=PROMPT)


def test_damage_is_told_not_raised(ledger: errata.OpenLedger, here: Path) -> None:
    assert ledger.verify(deep=True).sound
    blob = max((here / ".errata" / "objects").rglob("*.safetensors"), default=None) or next(
        path for path in (here / ".errata" / "objects").rglob("*") if path.is_file()
    )
    blob.chmod(0o644)
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    verified = ledger.verify()
    assert not verified.sound and verified.findings and "damaged" in str(verified)


def test_results_are_safe_in_a_notebook(ledger: errata.OpenLedger) -> None:
    answers = ledger.ask("<script>alert(1)</script> & \x1b[31m", top=1, tokens=1)
    html = answers._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; " in html and "\x1b" not in html
    assert html.count("<table>") == html.count("</table>") == 1
    assert repr(answers) == str(answers) and "\x1b" not in str(answers)
    for value in (ledger.head, ledger.log(), ledger.show("e1"), ledger.verify(), ledger.evaluate(edits=True)):
        assert isinstance(value, Result) and value._repr_html_().startswith(("<pre>", "<table>"))
        assert "tensor(" not in repr(value)


def test_it_goes_on_after_it_was_closed(ledger: errata.OpenLedger) -> None:
    with ledger as opened:
        said = opened.ask(PROMPT)
    assert ledger.ask(PROMPT) == said and ledger.head.edits == (1, 2, 3)


def test_a_policy_holds_here_too(errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errata as door

    monkeypatch.setenv("ERRATA_CONFIG", str(here / "configuration"))
    monkeypatch.setenv("ERRATA_PASSPHRASE", "correct horse")
    monkeypatch.setattr(App, "keys", lambda app: KeyFolder(app.world.configuration() / "keys", ScryptCost(2, 8, 1)))
    for person in ("ada", "ben", "cleo", "dan"):
        assert errata("key", "new", person, "--person", person).code == errata("key", "grant", person).code == 0
        for role in ("author", "approver", "operator"):
            assert errata("role", "grant", person, role).code == 0
    done = errata("policy", "set", "controlled", "--reason", "several of us")
    assert done.code == 0, done.err
    ledger = door.open(here, actor="ada")
    head = ledger.head
    with pytest.raises(door.ErrataError, match="use `errata propose`"):
        ledger.edit({**FACTS[0], "target": "p"})
    assert ledger.head == head
    ledger.evaluate(suite=here / "suite.jsonl")  # which anybody may record, signed with their key
    assert ledger.log()[0].signature is not None


def test_the_reference_is_the_docstrings() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "reference.py"))["page"]()
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == page


def told(page: str) -> list[tuple[str, str]]:
    """The blocks of Python of a page, each with the output that the page shows behind it."""
    found = re.findall(r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", page, re.MULTILINE | re.DOTALL)
    return [(code, output) for code, output in found]


def plain(text: str) -> str:
    """Output without what differs from run to run: folders, times, and digests of what was computed."""
    for pattern, name in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "WHEN"),
        (r"\b\d+\.\d s\b", "SECONDS"),
        (r"\b[0-9a-f]{12}\b", "DIGEST"),
        (re.escape(f"{Path.cwd()}/"), ""),
    ):
        text = re.sub(pattern, name, text)
    return text


@pytest.mark.shipped
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_pages_print_what_they_say(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo" / "data").mkdir(parents=True)
    for name in ("model", "data/edits.jsonl", "data/general.jsonl"):
        (tmp_path / "demo" / name).symlink_to(ROOT / "demo" / name)
    corpus = (ROOT / "demo" / "data" / "corpus.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "demo" / "data" / "corpus.txt").write_text("".join(corpus[:300]), encoding="utf-8")
    text = (ROOT / page).read_text(encoding="utf-8")
    if page == "README.md":
        text = text.split("<!-- python door -->")[1].split("<!-- end of python door -->")[0]
    names: dict[str, object] = {}
    blocks = told(text)
    assert len(blocks) >= (1 if page == "README.md" else 9)
    for code, output in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page, "exec"), names)
        shares = [[float(one) for one in re.findall(r"(\d+\.\d\d)%", side)] for side in (printed.getvalue(), output)]
        assert shares[0] == pytest.approx(shares[1], abs=0.5)
        got, expected = (re.sub(r"\d+\.\d\d%", "SHARE", plain(side)) for side in (printed.getvalue(), output))
        assert got == expected
    if page == "README.md":
        assert len(blocks[0][0].split("\n\n", 1)[1].splitlines()) <= 10


USER = """
import errata

def main() -> None:
    fact = errata.Fact(subject="Riga", prompt="{} is", target="old")
    with errata.open("ledger", actor="ada") as ledger:
        made = ledger.edit([fact, {"subject": "Lund", "prompt": "{} is", "target": "new"}], batch_size=2)
        worst: int = max(made.edits)
        answers = ledger.ask("Riga is", at="HEAD~1", top=3)
        shares: list[float] = [one.probability for one in answers.candidates]
        found = ledger.bisect("base", suite="suite.jsonl", threshold=0.5)
        if found.culprit is not None:
            reveal_type(ledger.revert(found.culprit, f"e{worst}", reason="wrong").digest)
        names: list[str] = [event.actor for event in ledger.log(5)]
        print(ledger.head, shares, names, ledger.evaluate(edits=True).record.n)
        ledger.ask(prompt=3)
"""


@pytest.mark.shipped
def test_mypy_knows_its_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    package = tmp_path / "types" / "errata"
    package.mkdir(parents=True)
    parts = ("ledger", "editor", "replay", "commands", "door", "demo", "world.py", "__init__.py", "py.typed")
    for part in parts:
        (package / part).symlink_to(ROOT / part)
    (tmp_path / "user.py").write_text(USER, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nmypy_path = {tmp_path / 'types'}\nstrict = true\nfollow_imports = silent\n"
        "[mypy-torch.*,transformers.*,numpy.*,sqlite_utils.*,safetensors.*,rich.*]\nfollow_imports = skip\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "mypy", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert lines[0].replace("builtins.", "") == 'user.py:13: note: Revealed type is "str"'
    assert 'user.py:16: error: Argument "prompt" to "ask" of "OpenLedger" has incompatible type "int"' in lines[1]
    assert len(lines) == 3, done.stdout
