"""Selection of documents (`stage=select`), the baselines of the paper's Section 3, and density (`analysis=density`).

features.py        hashed n-grams of every document, kept: DSIR and density are arithmetic on them
document_values.py one number a document, by which it is taken
dsir.py, density.py, perplexity.py, classifier.py     these numbers, by method
choosing.py        from numbers to documents: Gumbel noise, ranks, budgets
stage.py           stage=select
responses.py, responses_figure.py     analysis=density (Figure 14)
"""
