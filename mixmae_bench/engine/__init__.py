"""From a config to a finished training by an mmengine Runner."""
