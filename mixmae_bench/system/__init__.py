"""Files, processes, hardware and versions of this machine. Importing it does not import torch."""
