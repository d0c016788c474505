"""What was measured or published: records, their metrics, and the statistics of both. Needs no torch."""
