"""Facts, and the files that facts and suites of probes are read from.

    fact        facts and probes: what somebody wants a model to say, and how to see whether it does
    fact_files  reading facts from files: our JSONL, and the forms of CounterFact, zsRE, KnowEdit and "The Mirage of
                Model Editing"
    joining     how a prompt and its target are joined, and when a text says a target
    suites      files of probes with a metric

May import: base.
"""
