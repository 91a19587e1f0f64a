"""Commands that read the history and write versions out.

    checkout_record  the record of what `errata checkout` and `errata export` wrote and what it cost
    exporting        `errata export`
    history          `errata log`, `errata show` and `errata status`: what the record says. None of them needs the
                     model
    versions         `errata tag`, `errata checkout` and `errata diff`

May import: app, lazy, words.
"""
