"""Settings of the comparison of corpora in embedding space."""

from __future__ import annotations

from dataclasses import dataclass

from toedit.config.checks import require


@dataclass
class EmbeddingsConfig:
    """What `stage=analyze analysis=embeddings` embeds, and how it is looked at."""

    model: str | None = None
    """A sentence-transformers model: hub id, folder, or `package:NAME`, an installed package with the weights in its
    folder `model`; null: the mean of the prior's last hidden states."""
    revision: str | None = None
    """Commit, tag or branch of a hub model; resolved to a commit and recorded."""
    documents: int = 1000
    """Documents drawn from each corpus; where one has fewer, so many of each."""
    max_tokens: int = 256
    """Of a document its first so many tokens; a model that takes fewer reads fewer."""
    batch_documents: int = 32
    """Documents embedded at a time."""
    tsne_perplexity: float = 30.0
    """Of t-SNE: about how many neighbours a document has; less where there are few documents."""
    tsne_iterations: int = 1000
    """Of t-SNE."""
    folds: int = 5
    """Of the cross-validation of the classifier; a work is never in two folds."""
    inverse_penalty: float = 0.1
    """C of the logistic regression, on features of unit variance: less is smoother."""

    def __post_init__(self) -> None:
        require(2 <= self.documents <= 5000, "embeddings.documents", self.documents, "must lie between 2 and 5000")
        require(self.max_tokens >= 1, "embeddings.max_tokens", self.max_tokens, "must be at least 1")
        batch = self.batch_documents
        require(batch >= 1, "embeddings.batch_documents", batch, "must be at least 1")
        perplexity = self.tsne_perplexity
        require(perplexity >= 1, "embeddings.tsne_perplexity", perplexity, "must be at least 1")
        iterations = self.tsne_iterations
        require(iterations >= 250, "embeddings.tsne_iterations", iterations, "must be at least 250")
        require(self.folds >= 2, "embeddings.folds", self.folds, "must be at least 2")
        require(self.inverse_penalty > 0, "embeddings.inverse_penalty", self.inverse_penalty, "must be positive")
