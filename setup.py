"""Which folders of the tree are the package `errata`: `ledger/` is `errata.ledger`, `cli.py` is `errata.cli`."""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

PATTERNS = ("ledger*", "editor*", "replay*", "commands*", "door*", "demo*")


class BuildPy(build_py):
    """Leaves out this file, and the programs that write pages of `docs/`: they are not part of the package."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """The modules of a package: (package, module, file)."""
        if package == "errata.docs":
            return []
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


setup(
    cmdclass={"build_py": BuildPy},
    package_dir={"errata": "."},
    packages=["errata", "errata.docs", *(f"errata.{name}" for name in find_packages(include=PATTERNS))],
    package_data={
        "errata": ["py.typed"],
        "errata.docs": ["*.md"],
        "errata.demo": ["model/*", "data/*", "real/*"],
        "*": ["templates/*"],
    },
)
