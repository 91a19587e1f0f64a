"""Editing methods, one pure function each.

A method takes a batch's residuals and its keys through the inverse of what has to be preserved
(`editor.solve.solve.Preserved`), and gives one pair of factors an edit, ``Δ = Σ u_i v_iᵀ``. It holds no state and does
not know how ``K1 B⁻¹`` was found. Most-probable early stopping (MPES) is a property of stage 1 and goes with all of
them.

    memit       regularised least squares; ENCORE when the norm constraint and MPES are on
    alphaedit   the same within the null space of the second moment
    emmet       equality constraints for a batch
    rome        an equality constraint for one edit
    ft          fine-tuning under a norm constraint, factorised afterwards

    registry     closed forms by name; closed_form, from settings to one; fine_tune, the one without a target value

`docs/methods.md` has the table of formulas, papers and settings.

May import: config, model, solve.
"""
