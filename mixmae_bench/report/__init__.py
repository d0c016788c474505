"""Records to tables. Reads files only; needs no torch."""
