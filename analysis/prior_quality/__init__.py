"""The prior itself: how far its probabilities are to be believed, and how much an edit depends on which prior it is."""
