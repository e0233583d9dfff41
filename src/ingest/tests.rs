//! Replays of files written here, and of real recordings where they are at hand.

mod damage;
mod formats;
mod mistakes;
mod order;
mod parquet;
mod real;
mod support;
