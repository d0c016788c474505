"""Records to tables, plots and an HTML report. Reads files only; needs no torch."""
