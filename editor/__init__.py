"""The editor: write facts into a model's weights, in two stages, and say what happened.

A newcomer's map, in reading order:

- ``config``: every setting an edit depends on; ``presets``: published settings of well-known models.
- ``architecture``: adapters, where a family keeps its parts; ``adapter_files``, ``adapter_check``: a user's own, and
  whether what it names is true.
- ``models``: a model's files, their digests, and loading; ``text``: subjects and targets as tokens.
- ``stats``: second moments of keys over a corpus; ``contexts``: the prompts that rewriting prompts stand behind.
- ``requests``, ``target``: stage 1, target values, with most-probable early stopping.
- ``solve``, ``norms``: stage 2, the closed-form solve, and the norms it leaves; ``after_norm``: families with a norm
  behind the edited module.
- ``grid``: the exact edit algebra that makes sums of deltas the same bits in any order.
- ``evaluate``: what a model says; ``hooks``: recording and patching, always undone.
- ``outcomes``: an edit's own probes, before and after.
- ``pipeline``: the whole of a batch. It changes nobody's model and records nothing; ``replay.workflow`` does that.

Imports go one way: the editor knows the ledger's vocabulary, and nothing of replay or the command line.
"""
