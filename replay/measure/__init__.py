"""Versions measured: evaluations, monitoring, previews, blame, tracing.

    asking        What a version says after a prompt: its greedy continuation, and the most probable next tokens
    blame         rank the edits of a version by what they do to a suite
    comparison    ask several versions the same things, and compare the answers pair by pair
    consequences  what reverting edits would do, found out by running the model on both versions and recording
                  nothing
    evaluations   evaluate a version on facts, a corpus or a task, and record the result with its intervals
    first_order   the first-order influence of recorded edits on a metric in a version, from their stored factors
    locating      where a version keeps its facts: causal tracing over a sample, recorded, with its pictures
    monitor       A ledger's health along its log: norms, activations, what edits of every age still say, and a
                  suite's score
    timeline      scores along the log: several suites at the same points, with intervals, and where each fell the
                  most
    why           why a version says what it says after a prompt: which edits fire on it, where, and how much each
                  moves the answer

May import: charts, versions, workflow.
"""
