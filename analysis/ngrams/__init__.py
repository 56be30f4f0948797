"""`analysis=ngrams`: `counts` counts a corpus, `merge` adds up, `stage` compares and writes."""
