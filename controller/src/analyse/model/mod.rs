//! The optional second opinion: asks a model about incidents that the rules have found.
//!
//! `ask` is what is said between the two halves: here the wire (`client` and what stands behind it),
//! there the evidence, the prompt and the judgement of the answer. The model is taken for hostile:
//! whatever comes back is a text until it is judged, and any failure leaves the rules' own text.

pub mod ask;
pub mod error;
