"""Facts into the head: batches, drafts and gates of a change, edits solved again.

    apply            write facts into the head of a ledger: batch after batch, each one solve, one blob and one
                     transaction
    care             what is done for a person's edits beside writing them: another try, nothing left that does not
                     work, more probes
    changes          changes of the model, from a draft to what is measured afterwards; everything else of their
                     life needs no model
    flow             A change from its facts to its tag, as far as the policy lets one person go
    gates            measure a policy's gates on a version: what a change does, beside the bounds that it has to
                     keep
    recording        A batch's result as what is recorded of it: its factors as a blob, and its edits, ready for a
                     transaction
    rederive         revert edits and solve again, without them, those that were solved after or beside them: a
                     rebase of the log's end
    rederive_report  what re-deriving gains over a plain revert: three versions are asked the same, and a rule says
                     if it is worth it
    report           what became of a batch of facts
    trial            A trial: the ledger as it would go on, in memory. Its events are nobody's

May import: measure, record, workflow.
"""
