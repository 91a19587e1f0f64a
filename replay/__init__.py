"""Versions: build them, write them out, compare them, and find the edit that made one worse.

    materialise     a live set into weights, exact to the bit, incrementally and from keyframes
    workflow        the only writer: init, edit, revert, tag, evaluate, in the order blob first, event last
    checkout        a version as a folder that transformers loads; model_card is what its README says
    diff            what changed between two versions
    bisect          the search, a pure function of its observations; bisect_session keeps them on disk;
                    oracles test a version by a suite's metric or by a command
    deep_verify     everything that ledger.verify checks, and the models themselves

Imports go one way: cli -> replay -> editor -> ledger.
"""
