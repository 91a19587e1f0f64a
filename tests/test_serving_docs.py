"""The page on serving: its Python runs as it stands and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from errata import cli

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PRINTS = re.findall(r"^prints\n\n```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.shipped
def test_the_snippets_print_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(ROOT / "demo" / "model")
    first = (ROOT / "demo" / "data" / "edits.jsonl").read_text(encoding="utf-8").splitlines()[0]
    (tmp_path / "edits.jsonl").write_text(first + "\n", encoding="utf-8")
    corpus = (ROOT / "demo" / "data" / "corpus.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "corpus.txt").write_text("".join(corpus[:300]), encoding="utf-8")
    assert cli.call(["init", "model", "--corpus", "corpus.txt"]) == 0
    assert cli.call(["edit", "--file", "edits.jsonl"]) == 0
    assert cli.call(["export", "HEAD", "adapter", "--adapter"]) == 0
    assert len(SNIPPETS) == 2 and len(PRINTS) == 1
    edited, base = PRINTS[0].splitlines()
    for snippet, expected in zip(SNIPPETS, ([edited, base], [edited]), strict=True):
        capsys.readouterr()
        exec(compile(snippet, "docs/serving.md", "exec"), {})
        assert [line.strip() for line in capsys.readouterr().out.splitlines()] == expected
