"""The statistical next-token model of Seddik et al. 2024: simulators, exact engines, formulas, studies.

Each context is a categorical law p over V tokens; a model is the table of relative frequencies of the tokens that it
was trained on. `distributions` makes the laws, `simulate` and `editing` draw trials, `coalescent` and `recursions` are
exact, `formulas` lists every formula with its status; the other modules are studies of `stage=theory`.
"""
