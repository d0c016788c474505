"""Tables, plots and an HTML report of records. Reads files only; does not import torch."""
