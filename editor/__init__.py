"""The editor: write facts into a model's weights, in two stages, and say what happened.

A newcomer's map, in reading order:

- ``config``: every setting an edit depends on; ``presets``: published settings of well-known models.
- ``architecture``: adapters, where a family keeps its parts; ``adapter_files``, ``adapter_check``: a user's own, and
  whether what it names is true.
- ``models``: a model's files, their digests, and loading; ``text``: subjects and targets as tokens.
- ``stats``: second moments of keys over a corpus; ``contexts``: the prompts that rewriting prompts stand behind.
- ``requests``, ``target``: stage 1, target values, with most-probable early stopping; ``capture``, ``suffix``: what
  makes it cheap, one whole pass and then only what an edit can change.
- ``closed_form``: stage 2, from settings to a method; ``methods``: one pure function each; ``fine_tune``: the one that
  has no target value. Under them ``solve``, ``solver``, ``carried`` and ``kept``: the linear algebra, a factor that
  outlives a batch, the keys carried beside it, and what is kept on disk. ``norms``: the norms that are left;
  ``after_norm``: families with a norm behind the edited module.
- ``grid``: the exact edit algebra that makes sums of deltas the same bits in any order; ``low_rank``: such a sum as a
  pair of factors of a given rank.
- ``evaluate``: what a model says; ``hooks``: recording and patching, always undone.
- ``outcomes``: an edit's own probes, before and after.
- ``pipeline``: the whole of a batch. It changes nobody's model and records nothing; ``replay.workflow`` does that.
- ``scores``, ``intervals``, ``fluency``, ``lm_task``: evaluation as the field expects it, with intervals.
- ``stand_in``, ``influence``: a metric's gradient, and what each edit does to it to first order; ``firing``: which
  edits fire on a prompt; ``ranking``: whether two orders agree.
- ``tracing``: where a model keeps facts; ``tuning``: what makes one choice of settings better than another; ``drift``:
  activations against the base's.

Imports go one way: the editor knows the ledger's vocabulary, and nothing of replay or the command line.
"""
