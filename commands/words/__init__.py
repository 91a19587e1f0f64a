"""How things are told: tables, and events, policies and changes in words.

    change_view     A change's whole story: what is asked for, what it would do, who decided what, and what is
                    missing
    policy_wording  policies, and which events keys sign, in words
    render          tables and lines: rich on a terminal, plain text elsewhere
    trust_wording   events of policy, keys, roles and changes in words
    wording         events, edits, versions and conclusions in words, and as JSON

May import: no other room.
"""
