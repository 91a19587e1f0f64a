"""`errata bisect`.

    bisect_reporting    `errata bisect report`: a recorded bisection for a colleague, on the terminal, as JSON, or
                        as a page of its own
    bisect_running      `errata bisect run`: a suite, a task or a command tests versions until the culprit is found
    bisect_visualising  `errata bisect visualise`: where the bisection under way stands, as a strip, tables and a
                        chart
    bisect_words        what the commands of `errata bisect` share: the session, and questions and conclusions in
                        words and as JSON
    bisecting           `errata bisect`: find the edit that made a version worse; the commands by which a person
                        does it

May import: app, lazy, unlocking, words.
"""
