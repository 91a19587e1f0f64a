"""What edits must leave alone: text, and what of a model it needs.

    fisher         Fisher information of a hidden state: how much a change of it, at any token of any text, changes
                   what is said
    neighbourhood  The same prompts about other subjects: what a batch of facts must leave alone first of all
    own_text       text of a model's own: a corpus, reference texts, and the context prompts that rewriting prompts
                   stand behind
    stats          second moments of keys over a text corpus: ``C = E[k kᵀ]``, what stage 2 preserves

May import: config, model.
"""
