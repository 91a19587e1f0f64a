"""A range of the log for an auditor: the bundle, its reports and tables, and the program that checks it alone.

    alone          the check of an audit bundle by itself: without the rest of Errata, its ledger or any model
    bundle         audit bundles: a range of the log as files that an auditor checks without the ledger, the model
                   or this program
    changes        a change set as an auditor is told of it: who asked, who worked it out, who said yes, and what
                   was measured
    formats        in-toto statements, CycloneDX, DSSE and Parquet, for other tools
    pages          the report of an audit bundle as a page of HTML and as a PDF: one template, two ways to read it
    edit_row       the master copy's record: what an auditor is told of one edit, from the request to what became of
                   it
    range          ranges of the log for an auditor: whole batches and change sets, and what of the log before bears
                   on them
    report         the report of an audit bundle: what a person has to know of a range of the log, before it is laid
                   out as a page
    master_copy    the master copy: a range of the log read edit by edit, each with all that the events say of it
    templates      the texts of report and README
    views          what an audit bundle holds besides its records: the range for other tools, and for people
    words          rows of the master copy, and what a policy asks, in the words of the report

May import: base, events, facts, kinds, rules, state, witness.
"""
