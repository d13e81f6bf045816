//! `cargo xtask bench analysis`: all that the test of the same name holds a sample of.

#[path = "../../tests/evaluation/main.rs"]
mod evaluation;

fn main() {
    evaluation::main();
}
