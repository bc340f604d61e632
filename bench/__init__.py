"""The benchmark, a folder a stage; each imports only those below it.

    commands                  one module a subcommand of `bench`
    report                    tables and pictures of what was measured
    perf     running          speed of matching; cells from plan to record
    training                  trainer, sampler, loss, augmentation
    testing                   encode, score, rank; metrics
    study    network          rows, presets, cells; backbone and matcher
    data     journal          data sets and images; what a run leaves on disk
    system                    locks, paths, processes, signals, streams
    config, values, errors, randomness, progress, stopwatch, environment

Matching heads live in the package `variants`; this package reaches them through `variants.build` alone, and clusters
through the one call `slurm.cluster`.
"""
