//! When a window of a view has ended.
