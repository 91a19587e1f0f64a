"""Versions: build them, write them out, compare them, and find the edit that made one worse.

A newcomer's map, in reading order:

    context         what the edge hands in: clock, identifiers, actor, device
    genesis         how a ledger begins
    factors         deltas from their batches, mapped into memory, each checked against its event
    keyframe_cost   when an exact sum is worth keeping; keyframes, those that are kept on disk
    tiles           one tensor of a version in little memory
    materialise     a live set into weights, exact to the bit: tensor by tensor, or moving from version to version
    workflow        the workspace: a ledger with its model, and the only writer
    apply           facts into the head, batch by batch: blob first, events last; past_keys, what they must keep;
                    factor_cache, solvers' factors on disk; caches, where all that lies, for `errata gc`
    trial           the ledger as it would go on; gates, what a change does beside its bounds; changes, drafted in a
                    trial, and checked once they were applied
    recording       a batch's result as a blob and edits, ready for a transaction
    looking         several versions asked the same, and compared pair by pair
    consequences    what a revert would change
    rederive        edits solved again without others; rederive_report, whether that was worth it
    checkout        a version as a folder that transformers loads; model_card is what its README says
    reshard         a base in which the edited tensors have a shard of their own
    whole_folder    folders that are there whole or not at all; sharing, bytes given without copying them
    versions        the net changes between two versions; diff, what they change in edits and facts; distance, how far
                    apart their weights are
    adapter_export  a version, or the way between two, as a LoRA adapter; adapter_card is what its folder says
    bisect          the search, a pure function of its observations; bisect_terms, its words; exact_search, for a test
                    that always says the same; noisy_search, for one that errs, and noise, what it believes; minimise,
                    the smallest sets when several edits do it together
    oracles         what decides whether a version is good: the score of a suite or a task, or a command
    bisect_scope    which changes are searched, and in which order
    bisect_session  a bisection that lasts over several commands; bisect_file, how it is kept; bisect_log, as commands
    bisect_run      one that runs through; bisect_record, the event that it ends in
    bisect_view     where one stands; bisect_report, what one found; bisect_chart, the picture of both
    evaluations     a version scored on facts, a corpus or a task; pilot, a user's facts in a ledger to throw away
    locating        causal tracing of a version
    tuning          a search for settings; tuning_study, its journal, and tuning_chart, its picture
    first_order     what each edit does to a metric, from one backward pass; blame ranks by it and leaves edits out;
                    prior, what that tells a bisection beforehand; why, which edits fire on a prompt
    monitor         norms, activations and scores along the log; charts, one specification for page and picture
    timeline        suites' scores along the log, and where they fell
    deep_verify     the base's files and the weights of tagged versions, rebuilt from nothing but the log

Imports go one way: cli -> commands -> replay -> editor -> ledger.
"""
