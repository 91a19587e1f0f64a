"""What only some may read: keys of personal facts, and private keys of people.

    erasing    what has to go once a fact was erased, and what that leaves
    key_files  private keys in a person's own folder: `NAME.pem` under a passphrase, and beside it `NAME.json`,
               which is public
    pem        Ed25519 keys as PEM files that other tools read too: a private key under a passphrase (PKCS#8), a
               public key (SPKI)
    proposed   personal facts that are proposed: sealed when they are asked for, forgotten when nothing comes of them
    sealing    a personal fact as the log holds it, and its text back for whoever has the key
    tellings   whether a text tells a personal fact, however it is spelt
    vault      the vault: one key for each personal fact, outside the log and its objects

May import: base, drafts, events, facts, kinds, state, store.
"""
