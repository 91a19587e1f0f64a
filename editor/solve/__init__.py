"""The linear algebra of stage 2, and the exact edit algebra.

    carried    keys carried beside a factor: what a batch of edits adds to the preserved matrix, at the cost of its
               rank
    grid       the exact edit algebra: deltas on a dyadic grid, where float64 sums are exact
    kept       what stage 2 keeps on disk between processes: where, from which size on, and how it is recognised
    low_rank   A sum of deltas as one pair of factors of a given rank: what a LoRA adapter holds
    norms      frobenius norms along a batch, and of low-rank differences, without forming one matrix an edit
    projector  the projection onto the null space of the second moment, in which AlphaEdit solves
    solve      stage 2: the closed form that writes target values into a weight matrix, and what its solvers have in
               common
    solver     A solver that outlives a batch: what one edited tensor's preserved matrix costs is paid once, not for
               each batch

May import: no other room.
"""
