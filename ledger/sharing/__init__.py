"""Two ledgers on one base model: edits carried over, and merges.

    carry  carry edits over from another ledger on the same base: their deltas, digests and provenance, to the bit
    merge  bring another ledger on the same base together with this one, three-way, fact by fact
    sides  two ledgers on one base model, as one sees the other

May import: base, care, events, kinds, ledger, rules, state.
"""
