"""Kinds of events: for each one what it says, when it is allowed, what it changes, and its line in the log.

To add a kind: write one file with its body, its rule, its words and a `KindSpec`, and name it in `table`. An event
that moves nothing needs nothing else: it is kept as a record, which `State.recorded` gives back. To change a body:
raise its version and add an upcaster from the version before.

    access       policy, keys and roles
    bisections   how a search for the edit that made a metric bad ended
    chain        a draft becomes an event after a head, and a stored event is read
    checkouts    a version was written out
    clocks       where times of the log are no guide any more, and from which time on they go on
    decisions    what follows a draft: approved, rejected, applied, checked, reviewed
    edits        the first event; edits applied, attempted in vain, reverted, superseded, erased
    evaluations  the result of a suite, facts, a corpus or a task on a version, and where it keeps its facts
    exports      a range of the log was handed out as an audit bundle
    merges       another ledger was merged into this one
    proposals    changes proposed, drafted, closed without a decision
    settings     the ledger's own hyperparameters, changed after its creation
    spec         `KindSpec`: what is to be said of a kind
    table        all kinds
    tags         names of versions

Bodies that the state itself is made of stand in `ledger.events`: those of the creation, edits, erasures, tags, policy,
keys, roles and changes. The state is below this room, and files may not import each other in a circle.

May import: base, events, facts, state.
"""
