"""What the log says now: a fold over its events, and questions that the fold answers.

    effects           what a change does once it is applied: the events that follow, in order, and the version that
                      they lead to
    event_signatures  whether events' signatures hold: each over its event's hash, by a key that was its actor's at
                      that place in the log
    fold              a fold under way: the mutable twin of `State`, which each kind of event changes in its own way
    lockout           whether anybody could still do what a policy asks for, with the keys and roles that there are
    standing          where a change stands: whether it can still be decided on, which approvals count, and what is
                      missing
    state             what the log says now, folded from its events. It never changes once it was handed out
    touched           what a key touched: the events that it signed, and the decisions that it signed and where they
                      counted
    trust             what the log says of policy, keys, roles and changes

May import: base, events, facts.
"""
