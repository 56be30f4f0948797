"""`analysis=perplexity_distribution`: `document` reads the perplexities, `stage` compares and writes."""
