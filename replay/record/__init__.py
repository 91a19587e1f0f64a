"""Who writes to a ledger, and every write that needs no model. Nothing here loads torch.

    access   keys, roles and policies: changed directly where the policy in force lets that be done so, else
             proposed
    changes  the life of a change, as far as it needs no model: proposed, drafted, approved, applied, or ended
    erasing  erase a personal fact: directly where the policy in force lets that be done so, else proposed
    undo     take the last change back: what it was, and what takes it back
    writer   the only way to a ledger's log: who writes, and what is written in one step without the model

May import: no other room.
"""
