"""How things are told: tables and lines. Words of events and of what they are made of are the ledger's own.

    change_view  a change's whole story: what is asked for, what it would do, who decided what, and what is missing
    pace         how far something is that takes long, and about how long the rest takes
    render       tables and lines: rich on a terminal, plain text elsewhere
    wording      edits, versions, keys and policies in words and tables, and as JSON

May import: no other room.
"""
