mod process;
mod runner;
mod service;
mod temp;
