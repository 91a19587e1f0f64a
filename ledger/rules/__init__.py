"""The rules of the log, and `decide(state, command) -> events`.

    addresses    how people name versions and edits
    decide       `decide(state, command)`: which events a command makes, or why it is refused
    deciding     a person's decision on a change, made ready to be signed
    evolve       from the events of a log to its state
    log_check    whether a log is one that the rules allow: each event after those before it, and every signature
    operations   commands: what somebody wants to happen. `ledger.rules.decide` turns one into events or refuses it
    rules        the rules of the log: when an event is allowed after the events before it
    trust_rules  what the policy in force asks of every event, and that nobody locks everybody out
    selecting    events picked out of a log: by subject, actor, kind and time

May import: base, events, kinds, state.
"""
