//! Dashboard: pages, their parts, and what they are made of.

pub mod assets;
pub mod layout;
pub mod pages;
pub mod widgets;
