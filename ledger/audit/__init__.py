"""A range of the log for an auditor: the bundle, its reports and tables, and the program that checks it alone.

    attestations   what the log says of a range, as in-toto Statements (v1) that other tools read
    bom            A bill of materials of the version at a range's end: CycloneDX 1.6 (ECMA-424), an ML-BOM
    bundle         audit bundles: a range of the log as files that an auditor checks without the ledger, the model
                   or this program
    changes        A change set as an auditor is told of it: who asked, who worked it out, who said yes, and what
                   was measured
    dsse           DSSE envelopes: a payload with its type and signatures over both (Dead Simple Signing Envelope,
                   protocol 1.0.2)
    pages          the report of an audit bundle as a page of HTML and as a PDF: one template, two ways to read it
    parts          the master copy's record: what an auditor is told of one edit, from the request to what became of
                   it
    range          ranges of the log for an auditor: whole batches and change sets, and what of the log before bears
                   on them
    readme         the page in a bundle that tells an auditor what it is and how to check it
    report         the report of an audit bundle: what a person has to know of a range of the log, before it is laid
                   out as a page
    rows           the master copy: a range of the log read edit by edit, each with all that the events say of it
    tables         the master copy as tables: CSV for spreadsheets, Parquet for programs; both say what
                   `edits.jsonl` says
    verify_bundle  check an Errata audit bundle by itself: without Errata, its ledger or any model
    views          what an audit bundle holds besides its records: the range for other tools, and for people
    words          words of the audit report: instants, digests, actions, and events of policy, keys and roles as
                   sentences

May import: base, events, facts, kinds, state, witness.
"""
