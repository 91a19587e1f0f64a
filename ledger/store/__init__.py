"""Where the log and its blobs lie: SQLite sealed to the bit, and content-addressed files.

    blobs        content-addressed bytes, named by their digest in the domain `blob`
    caches       where a ledger keeps what can be made again: its own folder `cache`, or large things on another disk
    connection   connections to the ledger's database, and SQLite's errors as ours
    deltas       A batch's factors as a blob: safetensors with `u/<tensor>`, `v/<tensor>` and `k/<tensor>` for each
                 edited tensor
    integrity    the SQLite store's own integrity: the seal, the file's bytes, the schema, SQLite's checks, and all
                 readable rows
    row_checks   what must hold of an edit's factors wherever they come from: digests, bounds, and the exact grid
    rows         queries over the `events` table
    schema       the database's schema, as numbered migrations that are only ever added to
    seal         the seal: `ledger.seal` says which bytes the database file has, so that no bit of it can change
                 unnoticed
    snapshot     a snapshot of the folded state: who only looks need not fold a long log again
    sqlite       `SqliteStore`: the log in one SQLite file, `.errata/ledger.db`
    store        `EventStore`: an append-only log of events, and the store that keeps it in memory
    tensor_file  where each tensor lies in a safetensors file: its header, read strictly and written

May import: base, events, kinds, state.
"""
