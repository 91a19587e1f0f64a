"""The commands of `errata`: each parses its arguments, calls one function, and shows the result.

    words      how things are told: tables, and events, policies and changes in words
    app        what every command shares: the ledger, the workspace, output, progress
    files      files of facts and suites as arguments: named alike by every command, `-` for standard input
    outputs    where a command writes: never into a ledger, and over nothing that is something else
    pager      long output on a terminal goes through a pager
    options    options that several commands share
    streams    standard output and error, so that no text and no terminal makes a command fail
    unlocking  which key signs for whoever acts, and where its passphrase comes from
    lazy       commands and modules that are loaded when they are used
    helping    help
    change     init, edit, revert, cherry-pick, merge, tune
    versions   log, show, status, tag, checkout, diff, export
    measure    eval, monitor, blame, why, timeline, locate, pilot, report
    search     bisect
    team       propose, draft, approve, apply, flow, key, role, policy, erase
    trust      verify, gc, demo, checkpoint, prove, fsck, audit

What a command needs of the world (clock, environment, device) is handed in by `cli.py`. No command writes to a ledger
itself: whatever does is a function of `replay`. What loads torch, transformers or numpy is imported under
`lazy.when_used`.
"""
