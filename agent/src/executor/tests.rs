mod bench;
mod client;
mod crash;
mod local;
mod orders;
mod served;
