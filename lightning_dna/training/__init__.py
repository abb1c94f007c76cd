"""Settings of training, the LightningModules, the run that pretrains, and fine-tuning."""
