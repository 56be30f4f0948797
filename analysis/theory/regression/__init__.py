"""Collapse in linear regression (Zhu et al. 2025, Section 4.2 and Appendix A): simulator, exact engines, formulas.

    strategies   what a generation trains on: replace, accumulate, keep real rows, edit with one of five kinds of masks
    simulate     all strategies over many trials, with the same random numbers
    exact        the same errors without random labels, for a given X
    formulas     the closed forms of strategies without editing; `editing_formulas`: Theorems 1 and 2, and corrections
    registry     what every formula says of itself: source, status, assumptions
    bound, generations, one_edit, map, sweep    the studies of `stage=theory`

The setting: x ~ N(0, Sigma) in d dimensions, X holds T rows and is drawn once; y = X w* + E with noise E ~ N(0, s^2 I)
drawn anew in every generation; a generation is the least-squares fit w = X^+ y, its error |Sigma^(1/2) (w - w*)|^2.
After a change of variables Sigma falls out of every result, so it is the identity unless a caller asks for another one.
Generation 1 is the fit on real data; "n rounds" means n generations after it.
"""
