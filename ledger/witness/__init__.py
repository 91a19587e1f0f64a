"""What an outsider can hold the log against: the Merkle tree, its proofs, and signed checkpoints.

    checkpoints  checkpoints of a ledger: made, and held against the log as it is now
    merkle       the Merkle tree over a log (RFC 6962, section 2.1; proofs as RFC 9162 verifies them), with SHA-256
    notes        checkpoints of a log as signed notes (C2SP signed-note, tlog-checkpoint, tlog-cosignature/v1)

May import: base, events, state.
"""
