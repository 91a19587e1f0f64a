"""Commands that measure versions.

    asking      `errata ask`: what a version says
    blaming     `errata blame`, `errata why` and `errata timeline`
    comparing   `errata compare`: methods on the same facts, as one table and one picture
    evaluating  `errata eval`: a version on a suite, on facts, on a corpus, or on a task of lm-eval
    locating    `errata locate`: where the model keeps its facts
    monitoring  `errata monitor`
    piloting    `errata pilot`: a user's own facts, tried in a ledger that is thrown away, and the report that
                decides; pages, what both of these write
    costs       `errata report`: what the log adds up to

May import: app, files, lazy, options, outputs, words.
"""
