// Time series charts.
