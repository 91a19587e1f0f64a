"""Two ledgers on one base model: edits carried over, and merges.

    carry  carry edits over from another ledger on the same base, to the bit: a cherry-pick's, or those of a merge
    merge  what a merge of another ledger into this one carries over: three-way, fact by fact
    sides  two ledgers on one base model, as one sees the other

May import: base, care, events, kinds, ledger, rules, state, store.
"""
