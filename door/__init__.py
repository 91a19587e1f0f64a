"""Errata in Python: what the commands do, as functions with the same words, defaults and addresses.

    given    what callers may pass: paths, facts and suites in several forms
    opened   `OpenLedger`, a ledger with its model, whose methods are the commands
    opening  `init` and `open`: begin a ledger, or open one
    reading  what can be read of an open ledger: versions, the log, and whether all of it holds
    writing  a ledger's versions written out: as model folders, adapters and GGUF files, and to a model hub
    results  what comes back: values that print as the tables that the commands show, also in a notebook

`errata` itself has the names that are meant for users. The clock, the environment and devices come from `world.py`, as
they do for the command line.
"""
