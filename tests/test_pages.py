"""The pages are a whole: a way to each, links that lead somewhere, commands that exist, nothing from elsewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from errata import cli

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
WRITTEN = [page for page in PAGES if page.name not in ("commands.md", "reference.md")]
SITE: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


# The way in


def linked(text: str) -> list[str]:
    return [page for page, _ in LINK.findall(text) if page]


def test_the_index_and_the_navigation_group_every_page_alike() -> None:
    start, *groups = SITE["nav"]
    assert start == {"Start": "index.md"}
    in_navigation = {name: pages for group in groups if isinstance(group, dict) for name, pages in group.items()}
    headed = re.split(r"^## (.+)$", text_of(DOCS / "index.md"), flags=re.MULTILINE)[1:]
    in_index = {name: linked(text) for name, text in zip(headed[::2], headed[1::2], strict=True) if name != "Limits"}
    alone = [page for page in groups if isinstance(page, str)]
    last = list(in_index)[-1]
    assert {**in_navigation, last: [*in_navigation[last], *alone]} == in_index
    found = ["index.md", *(page for pages in in_index.values() for page in pages)]
    assert sorted(found) == sorted(page.name for page in DOCS.glob("*.md"))


def test_the_readme_is_two_screens_and_leads_to_the_index() -> None:
    readme = text_of(README)
    assert len(readme.splitlines()) <= 100
    assert len(readme.split()) <= 750
    assert "docs/index.md" in linked(readme)


# Links


def anchors(page: Path) -> set[str]:
    """What a page's headings are called both on the site and where the repository is shown."""
    headings = [heading.replace("`", "") for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)]
    site = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", _ascii(heading)).strip().lower()) for heading in headings}
    shown = {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
    return site & shown


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_and_their_anchors_lead_somewhere(page: Path) -> None:
    for name, anchor in LINK.findall(prose(page)):
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"no {name}"
        assert not anchor or anchor in anchors(target), f"no #{anchor} in {target.name}"
        assert page == README or target.is_relative_to(DOCS), f"{name} is not on the site"


# Commands


def shown_commands(page: Path) -> Iterator[str]:
    for block in blocks(page):
        for line in re.findall(r"^\s*\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE):
            for command in re.split(r" (?:&&|>|\|) ", line):
                if command.startswith("errata "):
                    yield command
    yield from re.findall(r"`(errata [^`]+)`", prose(page).replace("\\|", "|"))


def parse(command: str) -> None:
    """Walk down to the command that is meant, as click does; a last option's value may be left out.

    Raises:
        click.UsageError: if a command, an option or room for an argument is missing.
    """
    current: click.Command = cli.main
    context, words = _context(current, None), shlex.split(command)[1:]
    while True:
        try:
            _, rest, _ = current.make_parser(context).parse_args(list(words))
        except click.BadOptionUsage:
            _, rest, _ = current.make_parser(context).parse_args([*words, "VALUE"])
        if not isinstance(current, click.Group) or not rest:
            break
        found = current.get_command(context, rest[0]) if rest[0] in current.list_commands(context) else None
        if found is None:
            raise click.UsageError(f"no command {rest[0]}")
        current, context, words = found, _context(found, context), rest[1:]
    if rest:
        raise click.UsageError(f"no room for {' '.join(rest)}")


def _context(command: click.Command, parent: click.Context | None) -> click.Context:
    return click.Context(command, parent=parent, info_name=command.name, **command.context_settings)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda path: path.name)
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    wrong = {}
    for command in shown_commands(page):
        try:
            parse(command)
        except click.UsageError as error:
            wrong[command] = error.format_message()
    assert wrong == {}


@pytest.mark.parametrize(
    "command",
    ["errata edti", "errata edit --flie x", "errata bisect rnu", "errata revert --dry-run=3 e1", "errata init a b"],
)
def test_a_command_that_does_not_exist_would_be_found(command: str) -> None:
    with pytest.raises(click.UsageError):
        parse(command)


def test_pages_show_commands() -> None:
    assert sum(1 for page in WRITTEN for _ in shown_commands(page)) > 150


def test_extras_are_asked_for_by_the_name_of_the_distribution() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    product = [path for room in ("commands", "editor", "ledger", "replay") for path in (ROOT / room).rglob("*.py")]
    asked = set()
    for path in (*PAGES, *product, *(ROOT / "commands").rglob("*.html")):
        found = re.findall(r"\b(errata[\w-]*)\[(\w+)\]['`\s,]", text_of(path))
        assert {name for name, _ in found} <= {"errata-lm"}, path
        asked |= {extra for _, extra in found}
    assert {"audit", "eval", "plots", "tune"} <= asked <= extras


# The README's tour


@pytest.mark.shipped
def test_the_readme_shows_what_its_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    tour = re.search(r"<!-- tour.*?^```\n(.*?)^```", text_of(README), re.MULTILINE | re.DOTALL)
    assert tour is not None
    steps = re.split(r"^\$ errata (.+)\n", tour[1], flags=re.MULTILINE)[1:]
    assert len(steps) == 10
    for command, expected in zip(steps[::2], steps[1::2], strict=True):
        capsys.readouterr()
        assert cli.call(shlex.split(command)) == 0, command
        assert not expected or same(capsys.readouterr().out) == same(expected)


def same(text: str) -> str:
    """Without digests and times, which differ between machines."""
    return re.sub(r"\b[0-9a-f]{12,}\b", "DIGEST", re.sub(r"\d+\.\d s\b", "TIME", text)).strip()


# The site


def test_the_site_takes_nothing_from_elsewhere() -> None:
    assert SITE["theme"]["font"] is False
    assert {value for key, value in SITE["validation"].items()} == {"warn"}
    assert "https:" not in "".join(text_of(path) for path in (DOCS / "assets").iterdir())


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True))
    built = {path.name: text_of(path) for path in tmp_path.glob("*.html")}
    assert {page.stem for page in DOCS.glob("*.md")} | {"404"} == {Path(name).stem for name in built}
    loads = {found for text in built.values() for found in re.findall(r"<(?:script|link|img|iframe)\b[^>]*", text)}
    assert [tag for tag in sorted(loads) if re.search(r"(?:src|href)=[\"']?(?:https?:)?//", tag)] == []
    assert (tmp_path / "search" / "search_index.js").is_file()
