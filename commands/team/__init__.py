"""Commands of a team: proposals, decisions, keys, roles, policies, erasure.

    changing   `errata propose`, `draft`, `apply`, `withdraw` and `proposals`: the life of a change, but for
               decisions on it
    clocks     `errata clock`: where the log's times stand, and the way out where a clock was wrong
    deciding   `errata approve`, `reject`, `review` and `break-glass`: what people sign
    erasing    `errata erase`
    flowing    `errata flow`: a change from its facts to its tag in one command, as far as the policy lets one
               person go
    governing  what the commands of keys, roles and policies share: done directly where the policy lets it, else
               proposed
    granting   `errata key grant`, `errata key revoke` and `errata role`: who signs for whom, and who may do what
    keys       `errata key`: private keys of one's own, and whose keys the ledger knows. Grants are in `granting`
    policies   `errata policy`: show, set and check what the ledger asks of those who change it
    showing    what was recorded of a change, and where it stands

May import: app, files, lazy, options, outputs, unlocking, words.
"""
