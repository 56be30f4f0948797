"""Language models over generations, each trained on text that the ones before it wrote or edited (`stage`)."""
