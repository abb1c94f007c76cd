"""Published checkpoints: their files, their layouts, and the models they become."""
