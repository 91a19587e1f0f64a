"""A live set into weights, to the bit, in little memory.

    diff         what differs between two versions, of one ledger or of two on one base: edits, facts and norms
    distance     how far two versions' weights lie apart, tensor by tensor
    factors      read the deltas of edits from their batches, each checked against its event before it is used
    keyframes    exact sums kept on disk so that a far version need not be summed from its first edit, and the rule
                 that says when one is written, used and dropped
    materialise  turn a live set into weights, exactly
    sum_check    whether a sum that somebody kept is the sum of the deltas that the log names, without summing them
                 again
    tiles        one edited tensor of a version at a time, in little memory: rows of the exact sum are made, cast
                 and forgotten

May import: no other room.
"""
