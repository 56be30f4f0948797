"""`stage=continual_pretrain`: a model trained further on tokens of the user's; the training itself is `pretrain/`'s."""
