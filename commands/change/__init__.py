"""Commands that start a ledger and write into it.

    carrying   `errata cherry-pick` and `errata merge`: edits from another ledger on the same base. Neither needs
               the model
    create     `errata init` and `errata stats`
    edits      `errata edit`
    reverting  `errata revert`: plainly, as a preview, and with the edits after it solved again
    undoing    `errata undo`: take the last change back. It needs no model
    tuning     `errata tune` and `errata settings`: how the ledger edits when nobody says otherwise

May import: app, files, lazy, options, outputs, words.
"""
