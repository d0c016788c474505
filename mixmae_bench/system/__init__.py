"""This machine: files, processes, hardware, versions. Needs no torch."""
