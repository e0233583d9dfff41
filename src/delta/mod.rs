//! Arrow-native differential dataflow: updates, arrangements, and one operator a file.
//!
//! A [`Collection`](collection::Collection) is a multiset of rows that changes over time. Its changes
//! travel as [`Updates`](updates::Updates): record batches with a time and a diff for each row, both
//! nearly always stored once for the whole batch. Time is a totally ordered [`Tick`](updates::Tick),
//! so operators with state are functions of whole ticks ([`operator::Operator`]), and a
//! [`Plan`](plan::Plan) says how they are put together. Nothing here knows SQL.

pub mod aggregate;
pub mod arrange;
pub mod chunk;
pub mod collection;
pub mod consolidate;
pub mod distinct;
pub mod equal;
mod explain;
pub mod expression;
mod hash;
mod horizon;
pub mod join;
pub mod keys;
pub mod map;
pub mod negate;
pub mod operator;
pub mod order;
mod ordered_rows;
pub mod outlet;
pub mod partition;
pub mod plan;
pub mod reach;
pub mod recursion;
pub mod repeat;
pub mod resume;
pub mod route;
pub(crate) mod row_store;
pub mod series;
pub mod single;
pub mod stats;
pub mod temporal_condition;
pub mod temporal_filter;
#[cfg(test)]
pub(crate) mod testing;
pub mod top_k;
pub mod unnest;
pub mod updates;
pub mod window;
