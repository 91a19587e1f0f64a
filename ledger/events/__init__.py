"""Events: the envelope and its hash chain, and the bodies that the state is made of.

    bodies         what the creation, edits, erasures and tags say: one frozen model a kind
    change_parts   what changes are made of: actions, drafted edits, signed decisions
    envelope       events, drafts, heads, and what is hashed
    parts          what bodies of events are made of: records and enums that stand inside them
    policy         policies: who may do what, what has to be measured, and who must agree before a change is made
    policy_files   policies as TOML: what people write and read; what is recorded is the `Policy` itself
    selecting      events picked out of a log: by subject, actor, kind and time
    tag_names      names of tags: what can be one, and what would be mistaken for another address
    trust_bodies   what the events of trust say: policy, keys, roles, and the life of a change
    words          facts, actions, decisions, requirements and gates in words

May import: base, facts.
"""
