"""Train a config with mmengine's Runner: preparation, distributed training, precision and checkpoints."""
