"""The editor: write facts into a model's weights, in two stages, and say what happened.

A newcomer's map, from the ground up; each room's own page says what is in it and what it may import.

    config     every setting an edit depends on; `presets`, published settings of well-known models
    model      adapters, loading, tokens; facts as requests
    preserve   what edits must leave alone: text, second moments of its keys, and what of a change it hears
    solve      the linear algebra of stage 2, and the exact edit algebra
    score      what a model says, scored as the field expects it, with intervals
    methods    one pure function each: MEMIT and ENCORE, AlphaEdit, EMMET, ROME, FT
    attribute  which edits and which hidden states an answer rests on
    target     stage 1: target values, with most-probable early stopping, and what makes them cheap
    pipeline   the whole of a batch; it changes nobody's model and records nothing

The editor knows the ledger's vocabulary, and nothing of replay or the command line.
"""
