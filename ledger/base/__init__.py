"""What everything else stands on: errors, canonical bytes, digests, signatures, durable files.

    canonical   canonical bytes and digests: what is hashed, and how
    collector   Python's cycle collector rests while very many records are made
    digests     identities of tensors, deltas, base models and versions
    errors      errors carry what they know as fields, and each class owns the exit code that a command ends with
    failpoints  named places at which a test may pull the plug
    files       files that are there whole or not at all, and the ledger folder's lock
    findings    what `verify` has to say, what that means, and what to do about it
    held        folders that belong to the process that fills them: it holds a lock on each
    json_files  reading JSON and JSONL files so that every complaint names the file and the line or record
    own         folders that are ours: nothing is deleted or overwritten behind a link, or on a disk mounted inside
    records     `Record`: the frozen, strict model that everything crossing a border is made of
    signing     signatures: Ed25519 keys that name actors (RFC 8032), and what exactly is signed
    times       dates and times as people write them: each names a period, from its first instant to its last
    words       numbers, sizes and digests as people read them

May import: no other room.
"""
