//! One file per page: its view structs and its view, later its form and handler too.
