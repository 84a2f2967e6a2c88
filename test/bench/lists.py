def lists(postmaster, rng): pass
