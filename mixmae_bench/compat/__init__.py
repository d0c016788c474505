"""Stand-ins for what an OpenMMLab installation may lack."""
