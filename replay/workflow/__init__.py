"""A ledger together with its model: how it begins, and what is written with both.

    begun         what an interrupted `errata init` leaves, for the next one to go on from
    caches        where a ledger keeps what can be made again, and what a killed run leaves behind: for `errata gc`
    context       what the edge hands in: clock, identifiers, actor, device and meter. Nothing below looks for them
                  itself
    deep_verify   check what the log says about models: the base's own files, and the weights of tagged versions
    factor_cache  matrix factors kept on disk so that a later process need not compute them again
                  (`editor.solve.solver`)
    genesis       how a ledger begins: the base's digests, the edited matrices and their grids, second moments,
                  context prompts
    moments       the second moments that a ledger begins with, over a corpus file or text of the model's own
    past_keys     the keys of live edits, each batch's blob decoded once for as long as its edits are asked for
    publishing    A version published on a hub, as a model or as an adapter, and the record of that
    stats_file    second moments as one file, to share them and to begin a ledger with
    workspace     the workspace: a ledger and its model together, and what is written with both
    writing_out   A version written out, as a model folder, an adapter or a GGUF file, and the record of that and of
                  its cost

May import: export, record, versions.
"""
