"""Corpora in embedding space: a picture (Figure 4B), and tests, since a picture proves nothing."""
