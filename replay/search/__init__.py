"""The search for the edit that did it: pure functions of what was observed.

    exact_search  the search with a test that always says the same of a version
    minimise      delta debugging: the smallest part of a set that still does what the whole does
    noise         what is believed of a bisection with a test that errs, as a function of counts
    noisy_search  the search with a test that errs: it asks what tells most for its cost, and stops when it is sure
                  enough
    search        find the edit that made a version worse: binary search over the edits between a good and a bad
                  version
    terms         the words of a bisection: what is searched, what is asked, what was seen, and how it ended

May import: no other room.
"""
