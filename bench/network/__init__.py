"""The network under test: a backbone with its neck, and a head as its matcher.

May import data.
"""
