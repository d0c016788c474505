"""A suite: a grid of methods x tasks x seeds, planned, run, resumed and recorded."""
