"""From planned cells to finished ones, here or on a cluster.

Preflight checks everything before the first run; a cell is one training and its tests; the runner has several at a
time; the ledger knows how far each is; jobs and submission hand them to a cluster.
May import training, testing, study, network, data, journal.
"""
