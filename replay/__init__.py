"""Versions: build them, write them out, compare them, and find the edit that made one worse.

A newcomer's map, from the ground up; each room's own page says what is in it and what it may import.

    charts    one specification for page, report and picture
    record    who writes to a ledger, and every write that needs no model
    versions  a live set into weights, to the bit, in little memory
    export    model folders, LoRA adapters, resharded bases
    workflow  a ledger together with its model: how it begins, and what is written with both
    measure   evaluations, monitoring, previews, blame, tracing
    apply     facts into the head; drafts and gates of a change; edits solved again
    tune      a search for settings, and a trial of a user's own facts
    search    the search for the edit that did it: pure functions of what was observed
    bisect    a bisection from its scope to its event

Imports go one way: cli -> commands -> replay -> editor -> ledger.
"""
