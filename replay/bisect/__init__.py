"""A bisection from its scope to its event: sessions, oracles, reports.

    between       what lies between two versions: the net changes from one live set to another, in the order of the
                  log
    log           A bisection as a list of commands that lead to the same marks when they are run again
    oracles       what a bisection asks whether a version is good. A suite's metric, a task's, or somebody's own
                  command
    picture       the picture of a bisection: what was tested along the changes, what it said, and what is believed
    prior         what blame knows before a bisection tests anything: a weight of each step
                  (`replay.search.search.Strategy.prior`)
    record        the event that a concluded bisection makes
    report        A recorded bisection as a colleague reads it who was not there: what was found, how sure it is,
                  and what to do
    run           run a bisection to its end with a suite, a task or a command, and record how it ended
    scope         which of the steps between two versions are searched, and in which order
    session       A bisection that lasts over several commands: what was said so far, and nothing that follows from
                  it
    session_file  A bisection's session on disk, `.errata/bisect.json`: written whole or not at all, read in every
                  version of its form
    view          where a bisection under way stands: what was said of which version, what is left, and what comes
                  next

May import: export, measure, search, workflow.
"""
