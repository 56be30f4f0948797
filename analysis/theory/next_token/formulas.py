"""Every formula of the next-token model, with its source, its assumptions and its status.

    from analysis.theory.next_token.formulas import FORMULAS, collapse_time_diffusion
    FORMULAS["collapse_time_upper"].status          "loose"

| status | means |
|---|---|
| holds | as printed, exactly or as the inequality it is |
| loose | true, and far from the value |
| does not hold as printed | the corrected form stands beside it |
| derived here | not in the papers |

Source: Seddik et al., *How Bad is Training on Synthetic Data?* (arXiv 2404.05090 v1), unless another is named. The
functions live in `collapse_formulas`, `drift_formulas` and `scenario_formulas`, and all can be imported from here.
"""

from __future__ import annotations

from analysis.theory.next_token.collapse_formulas import (
    collapse_time_diffusion,
    collapse_time_lower,
    collapse_time_upper,
    concentration_fully_synthetic,
    dirac_probability_late,
    dirac_probability_lower,
    dirac_probability_upper,
    limit_probability,
)
from analysis.theory.next_token.drift_formulas import (
    concentration_limit,
    concentration_many_synthetic,
    concentration_many_synthetic_published,
    concentration_partially_synthetic,
    concentration_partially_synthetic_published,
    drift_bound_published_log10,
    enough_real_tokens,
    l1_drift_bound,
    l1_drift_bound_by_support,
    l1_drift_gaussian,
    l1_drift_limit_bound,
    l1_drift_limit_bound_by_support,
    l1_drift_limit_gaussian,
    largest_synthetic_count,
    largest_synthetic_count_published,
    relaxation_generations,
    spread_rigorous,
    spread_sharp,
    squared_drift_any_count,
    squared_drift_limit,
)
from analysis.theory.next_token.registry import FORMULAS
from analysis.theory.next_token.scenario_formulas import (
    changed_share_of_eligible,
    collapse_time_window,
    editing_distance_fixed_prior,
    editing_distance_reestimated_bound,
    editing_eligible_fixed_prior,
    editing_eligible_reestimated,
    pooled_concentration_limit,
)
from analysis.theory.registry import STATUSES, Formula

__all__ = [
    "FORMULAS",
    "STATUSES",
    "Formula",
    "changed_share_of_eligible",
    "collapse_time_diffusion",
    "collapse_time_lower",
    "collapse_time_upper",
    "collapse_time_window",
    "concentration_fully_synthetic",
    "concentration_limit",
    "concentration_many_synthetic",
    "concentration_many_synthetic_published",
    "concentration_partially_synthetic",
    "concentration_partially_synthetic_published",
    "dirac_probability_late",
    "dirac_probability_lower",
    "dirac_probability_upper",
    "drift_bound_published_log10",
    "editing_distance_fixed_prior",
    "editing_distance_reestimated_bound",
    "editing_eligible_fixed_prior",
    "editing_eligible_reestimated",
    "enough_real_tokens",
    "l1_drift_bound",
    "l1_drift_bound_by_support",
    "l1_drift_gaussian",
    "l1_drift_limit_bound",
    "l1_drift_limit_bound_by_support",
    "l1_drift_limit_gaussian",
    "largest_synthetic_count",
    "largest_synthetic_count_published",
    "limit_probability",
    "pooled_concentration_limit",
    "relaxation_generations",
    "spread_rigorous",
    "spread_sharp",
    "squared_drift_any_count",
    "squared_drift_limit",
]
