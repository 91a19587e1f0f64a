"""Errata: version control for what a language model believes."""

__version__ = "0.2.0"
