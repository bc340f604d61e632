"""The benchmark: configuration, data, training, evaluation, records and reports.

Matching heads live in the package `variants`; this package reaches them through `variants.build` alone.
"""
