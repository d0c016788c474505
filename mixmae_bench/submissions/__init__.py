"""Submissions: the runs of one initialisation in one suite as files of one folder, and the rules for them."""
