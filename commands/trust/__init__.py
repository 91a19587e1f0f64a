"""Commands that check a ledger and hand it to others.

    auditing   `errata audit`: hand a range of the log to an auditor, and check what was handed out
    checks     `errata verify`, `errata gc` and `errata demo`
    tampering  `errata checkpoint`, `errata prove` and `errata fsck`

May import: app, lazy, outputs, words.
"""
