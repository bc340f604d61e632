"""Tables and pictures of the measured numbers, with the paper's beside them. Reads records, never writes any.

The way in is `bench.report.write.write_report`. May import perf (its records), study, journal.
"""
