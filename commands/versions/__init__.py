"""Commands that read the history and write versions out.

    exporting  `errata export`
    history    `errata log`, `errata show` and `errata status`: what the record says. None of them needs the
                     model
    versions   `errata tag`, `errata checkout` and `errata diff`

May import: app, lazy, options, outputs, words.
"""
