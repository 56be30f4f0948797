"""The statistics of model collapse: simulators, exact engines, formulas with their status, studies of small models."""
