//! Looks at targets, runs what the journal has as started, and looks whether it helped.
