"""A campaign: commands, faults and hostile input drawn by a seed, for as long as wanted; what it finds becomes a test.

__main__   `make campaign MINUTES=30`: runs trials in turn, keeps count, goes on where it was stopped
child      one command in a process of its own, with a fault in it: an error of the disk, or a kill
crowd      several processes write to one ledger, some of them fail or are killed; nothing is lost, doubled or wrong
damage     files of ledgers, caches, bundles and models are changed; what changed is found, and nothing breaks
faults     an injected error in each system call of each command that writes, by strace (`make test-faults`)
hostile    text that a terminal or a page would obey, through every output
trials     what a trial is, and what it says
"""
