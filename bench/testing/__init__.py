"""How a network is tested within a memory budget: encoded, scored, ranked; and the metrics.

May import network, data, journal.
"""
