"""The ledger: what was changed in a model, by whom, when, why and with what result; append-only and checkable.

A newcomer's map, from the ground up; each module imports only from those above it.

    errors        what can go wrong, with fields and exit codes
    canonical     canonical JSON and domain-separated BLAKE3 digests
    digests       identities of tensors, deltas, base models and versions
    records       the frozen, strict pydantic base
    signing       Ed25519 keys, and what exactly is signed
    facts         facts and probes
    json_files    JSON and JSONL with line numbers in every complaint
    fact_files    facts from files: ours, CounterFact, zsRE, Mirage
    suites        suites of probes and their metrics
    policy        who may do what, and what it takes: open, controlled, regulated
    policy_files  policies as TOML
    change_parts  actions, drafted edits, signed decisions
    result_bodies what events of evaluations, checkouts, tracings and bisections say
    trust_bodies  what events of policy, keys, roles and changes say
    bodies        what each kind of event says
    events        the envelope, the hash chain, schema versions
    tag_names     what can be the name of a tag
    trust         what the log says of policy, keys, roles and changes
    event_signatures
                  whether events' signatures hold
    effects       what a change does once it is applied
    state         the fold: `evolve(state, event)`
    drafts        the edits of a draft, kept until they are applied
    lockout       whether anybody could still do what a policy asks for
    standing      where a change stands, and what is missing
    deciding      a decision, made ready to be signed
    change_rules  the life of a change
    trust_rules   by what right an event is appended
    rules         when an event is allowed
    change_commands, commands
                  what can be asked for
    decide_trust, decide
                  `decide(state, command, act)` -> events
    log_check     whether a log is one that the rules allow
    addresses     HEAD~2, @17, tags, digest prefixes, e12
    failpoints    places where tests pull the plug
    files         durable writes and the lock
    vault         the keys of personal facts
    pem, key_files
                  private keys under a passphrase, in their owner's folder
    findings      what verify reports
    blobs         content-addressed bytes
    tensor_file   where each tensor lies in a safetensors file
    deltas        a batch's factors as a blob
    sealing       personal facts as the log holds them, and their text back
    erasing       what has to go once a fact was erased
    store         the EventStore contract; a log in memory
    schema, rows, connection, seal, audit, sqlite
                  the log in SQLite, sealed to the bit
    ledger        `Ledger`: the folder, and `execute`, the only way to write
    merkle        the Merkle tree over a log, and its proofs
    notes         checkpoints as signed notes
    checkpoints   checkpoints of a ledger, made and held against it
    verify        re-derives everything, reports all findings
    cost          what editing cost, summed from the log
    audit_parts, audit_changes, audit_rows, audit_range
                  the master copy: what there is to say of each edit of a range of the log
    dsse, attestations
                  a range as in-toto statements, in signed envelopes
    bom           the version at a range's end as a CycloneDX bill of materials
    sides         two ledgers on one base, as one sees the other
    carry         edits of another ledger, carried over with their provenance
    merge         two ledgers brought together, three-way, fact by fact
    repair        damage mended from a second copy
    bundle        a range of the log as files that an auditor checks alone; bundle_tables, bundle_views
                  and bundle_readme make some of them
    audit_words, audit_report, audit_pages
                  the report of a range, as a page and as a PDF
    verify_bundle checks a bundle; stands alone, and is copied into each
    gc            drops what no event names; never history

The truth is the log. `Ledger.execute` decides on the state at one head and appends under that same head, so a command
is recorded whole or not at all:

    ledger = Ledger.open(find_ledger(Path(".")))
    ledger.execute(RevertEdits((12,)), actor="ada", now="2026-01-01T00:00:00Z", new_id=lambda: str(uuid4()))
    assert is_sound(verify(ledger))

Neither torch nor transformers is loaded by anything here; numpy, safetensors and sqlite-utils only when they are used.
"""
