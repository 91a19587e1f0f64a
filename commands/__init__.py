"""The commands of `errata`: each parses its arguments, calls one function, and shows the result.

    app           what every command shares: the ledger, the workspace, output, progress
    render        tables and lines, for terminals and for pipes
    trust_wording events of policy, keys, roles and changes in words
    unlocking     which key signs for whoever acts, and where its passphrase comes from
    wording       events, edits and conclusions in words and as JSON
    create        init, presets, stats
    locating      locate
    tuning        tune, settings
    edits         edit
    reverting     revert
    erasing       erase
    carrying      cherry-pick, merge
    history       log, show, status
    versions      tag, checkout, diff; checkout_record, the record of what was written
    exporting     export
    evaluating    eval
    monitoring    monitor
    blaming       blame, why, timeline
    piloting      pilot
    reporting     report: cost
    bisecting     bisect: start, marks, skip, undo, log; bisect_running, bisect run; bisect_visualising and
                  bisect_reporting, bisect visualise and report; bisect_words, what they share
    keys          key: new, list, show, passphrase; granting, key grant and revoke, role
    policies      policy
    governing     done directly where the policy lets it, else proposed; policy_wording, its words
    checks        verify, gc, demo
    change_view   a change in words: its story, what is missing, what comes next
    changing      propose, draft, apply, check, withdraw, proposals
    deciding      approve, reject, review, break-glass
    flowing       flow
    tampering     checkpoint, prove, fsck
    auditing      audit: export, verify

What a command needs of the world (clock, environment, device) is handed in by `cli.py`. Nothing here imports torch,
transformers or rich before a command needs it.
"""
