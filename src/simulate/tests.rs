//! Tests of the simulation.

mod faults;
mod shape;
mod support;
mod times;
