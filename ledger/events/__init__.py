"""Events: the envelope and its hash chain, and what each kind of event says.

    bodies         what each kind of event says: one frozen model a kind
    change_parts   what changes are made of: actions, drafted edits, signed decisions
    envelope       events: the envelope, the hash chain and schema versions
    parts          what bodies of events are made of: records and enums that stand inside them
    policy         policies: who may do what, what has to be measured, and who must agree before a change is made
    policy_files   policies as TOML: what people write and read; what is recorded is the `Policy` itself
    result_bodies  what the events of results say: evaluations, checkouts, tracings, bisections. None of them moves
                   the live set
    selecting      events picked out of a log: by subject, actor, kind and time
    tag_names      names of tags: what can be one, and what would be mistaken for another address
    trust_bodies   what the events of trust say: policy, keys, roles, and the life of a change

May import: base, facts.
"""
