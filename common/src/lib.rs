//! What agent and controller agree on.
