"""What a model says, scored as the field does it, with intervals.

    drift      activations of a version against the base's: how norms grow and states drift as edits pile up
    evaluate   what a model says: exact match under greedy decoding, probabilities, and continuations
    fluency    how a model writes: n-gram entropy of generated text, and perplexity of given text
    intervals  scores with their uncertainty: Wilson for shares, a seeded bootstrap over clusters for everything
               else
    lm_task    any task of lm-eval (the extra `eval`) on a model in memory; tasks come from local folders of YAML
               files
    ranking    whether two orders agree: ranks, with ties shared, and Spearman's correlation of them
    neighbours locality probes for facts that bring none: the same prompt about other subjects of the same kind
    scores     per-edit scores of a set of facts on a model, as the field defines them and by what the model really
               says
    choice     what makes settings good, and which of several that were tried to take

May import: config, model, preserve.
"""
