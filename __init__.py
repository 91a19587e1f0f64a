"""Errata: version control for what a language model believes.

    import errata

    with errata.init("demo/model", "my-ledger", corpus="demo/data/corpus.txt") as ledger:
        ledger.edit(subject="Boriven Beech House", prompt="{} is located in", target="Queensbury")
        print(ledger.ask("Boriven Beech House is located in"))
        ledger.tag("spring")
        ledger.revert("e1", reason="wrong house")

`init` begins a ledger on a model and `open` opens one. Both give an `OpenLedger`, whose methods are the commands:
`edit`, `ask`, `log`, `show`, `tag`, `checkout`, `revert`, `evaluate`, `bisect`, `blame`, `export_adapter`, `verify`.
Results print as short tables, in a notebook too. Facts may be given as `Fact`, with `Probe`s, suites as `Suite`, with
a `Metric`. Whatever goes wrong is an `ErrataError`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from errata.door.opened import OpenLedger
    from errata.door.opening import init, open
    from errata.ledger.base.errors import ErrataError as ErrataError
    from errata.ledger.facts.fact import Fact as Fact
    from errata.ledger.facts.fact import Probe as Probe
    from errata.ledger.facts.suites import Metric as Metric
    from errata.ledger.facts.suites import Suite as Suite

__version__ = "0.2.0"

__all__ = ["OpenLedger", "init", "open"]
"""What `help(errata)` tells at length; the other names below are as public."""

_PLACES = {
    "init": "door.opening",
    "open": "door.opening",
    "OpenLedger": "door.opened",
    "ErrataError": "ledger.base.errors",
    "Fact": "ledger.facts.fact",
    "Probe": "ledger.facts.fact",
    "Suite": "ledger.facts.suites",
    "Metric": "ledger.facts.suites",
}
"""Where each name stands; its module is loaded when the name is first used."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*_PLACES, *(name for name in globals() if name.startswith("__"))})
