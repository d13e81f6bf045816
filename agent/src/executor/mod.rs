//! The two ends of the socket between collector and executor, and the executor's way of an order.
