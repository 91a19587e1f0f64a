"""A bisection from its scope to its event: sessions, oracles, and its course as people see it.

    course        the course of a bisection, under way or concluded: what was tested, what it said, what is believed,
                  what comes next
    conclusions   what a bisection found, in words: how sure it is, where the edits come from, and what to do
    log           a bisection as a list of commands that lead to the same marks when they are run again
    oracles       what a bisection asks whether a version is good: a suite's metric, a task's, or somebody's own
                  command
    picture       the picture of a bisection: what was tested along the changes, what it said, and what is believed
    prior         what blame knows before a bisection tests anything: a weight of each step
                  (`replay.search.terms.Strategy.prior`)
    conclude      the event that a concluded bisection makes
    run           run a bisection to its end with a suite, a task or a command, and record how it ended
    scope         the steps between two versions, which of them are searched, and in which order
    session       a bisection that lasts over several commands: what was said so far, and nothing that follows from it
    session_file  a bisection's session on disk, `.errata/bisect.json`

May import: charts, export, measure, search, workflow.
"""
