"""A search for settings, and a trial of a user's own facts.

    chart        the picture of a search: quality against seconds an edit, with the front, the start and the choice
    compare      methods side by side: each edits the same facts in ledgers that are thrown away
    first_trial  a quick trial when a ledger begins on a model that no settings are known for
    life         facts written batch after batch into such a ledger, and versions of it measured
    pilot        A pilot: a user's own facts, edited in a ledger that is thrown away, to decide whether editing suits
                 a model
    runs         what came of a comparison's runs: scores, ages, differences from the first method
    study        what a search for settings keeps with Optuna: its journal file, and spaces and settings in Optuna's
                 terms
    tuning       searching for settings: throw-away edits of a sample in memory, driven by Optuna, the choice put on
                 record

May import: apply, charts, measure, workflow.
"""
