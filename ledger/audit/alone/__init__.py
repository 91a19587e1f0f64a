"""The check of an audit bundle by itself: without the rest of Errata, its ledger or any model.

    encoding      canonical JSON, digests and signatures
    plain_hashes  BLAKE3 and Ed25519 for where the packages are missing
    merkle_tree   the Merkle tree, and what a checkpoint says of it
    tables        the tables of a bundle
    trust         what the log says of keys, roles, policies and changes
    master        the master copy, derived again
    checks        the checks, one after another
    command       the command, and what the program says of itself
    program       all of them as one file, `verify_bundle.py`, which lies in every bundle

May import: no other room.
"""
