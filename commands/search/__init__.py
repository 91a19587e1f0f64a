"""`errata bisect`.

    bisecting  the group, whose commands are loaded when they are called
    marking    the commands by which a person does it: ends, marks, and what was said so far
    reporting  a bisection under way, and one that was recorded: on the terminal, as a chart, as a page of its own
    running    `errata bisect run`: a suite, a task or a command tests versions until the culprit is found
    showing    what they share: the session, and a bisection's course as text and as JSON

May import: app, files, lazy, options, outputs, unlocking, words.
"""
