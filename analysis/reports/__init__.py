"""Tables and figures of the paper, made from finished artifacts, beside the published numbers."""
