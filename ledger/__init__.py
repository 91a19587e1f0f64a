"""The ledger: what was changed in a model, by whom, when, why and with what result; append-only and checkable.

A newcomer's map, from the ground up; each room's own page says what is in it and what it may import.

    base      errors, canonical bytes, digests, signatures, durable files
    facts     facts, and the files that facts and suites of probes are read from
    events    the envelope and its hash chain, and the bodies that the state is made of
    state     what the log says now: a fold over its events
    kinds     for each kind of event what it says, when it is allowed, what it changes, and its line in the log
    rules     when an event is allowed; `decide(state, command) -> events`
    store     the log in SQLite, sealed to the bit; blobs in content-addressed files
    secrets   keys of personal facts, private keys of people
    witness   the Merkle tree over a log, its proofs, signed checkpoints
    drafts    the edits of a draft, kept until they are applied
    ledger    `Ledger`: the folder, and `execute`, the only way to write
    care      verify, repair, gc, cost
    sharing   edits carried over from another ledger, merges
    audit     a range of the log as files that an auditor checks alone

The truth is the log. `Ledger.execute` decides on the state at one head and appends under that same head, so a command
is recorded whole or not at all:

    ledger = Ledger.open(find_ledger(Path(".")))
    ledger.execute(RevertEdits((12,)), actor="ada", now="2026-01-01T00:00:00Z", new_id=lambda: str(uuid4()))
    assert is_sound(verify(ledger))

Neither torch nor transformers is loaded by anything here; numpy, safetensors and sqlite-utils only when they are used.
"""
