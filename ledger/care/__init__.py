"""Looking after a ledger: verify it, repair it, drop what nothing names, add up what it cost.

    chain_check  the chain alone: the database's bytes, every event's hash and link
    cost         what editing cost: time, memory and devices of edits, drafts, evaluations, checkouts and searches, from
                 the log
    gc           drop what nothing refers to, and never history
    repair       repair from a second copy: blobs one by one, and the log where it is damaged or was cut off
    verify       re-derive everything that the ledger claims, and tell all that does not hold

May import: base, drafts, events, facts, kinds, ledger, rules, secrets, state, store.
"""
