-- The list of analyses sums what each of them cost.
CREATE INDEX model_costs_analysis ON model_costs (analysis);
