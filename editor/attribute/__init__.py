"""Which edits and which hidden states an answer rests on.

    firing     which edits fire on a prompt: how strongly each edit's ``v`` meets what the edited module is given,
               token by token
    influence  what each edit does to a metric, to first order, from one backward pass
    stand_in   stand-ins: what a suite's metric is differentiated as
    tracing    causal tracing: which hidden states carry a fact

May import: model, score.
"""
