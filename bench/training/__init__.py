"""How a network learns: trainer, graph sampler, loss, augmentation.

May import testing (the sampler scores persons as a test does), network, data, journal.
"""
