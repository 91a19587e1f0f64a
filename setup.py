"""Which folders of the tree are the package `errata`: `ledger/` is `errata.ledger`, `cli.py` is `errata.cli`."""

from setuptools import find_packages, setup

ROOMS = ("ledger", "editor", "replay", "commands", "door", "demo")

setup(
    package_dir={"errata": "."},
    packages=["errata", *(f"errata.{name}" for name in find_packages(include=[f"{room}*" for room in ROOMS]))],
    package_data={
        "errata": ["py.typed"],
        "errata.demo": ["model/*", "data/*"],
        "*": ["templates/*"],
    },
)
