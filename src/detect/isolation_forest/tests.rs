use super::*;
mod golden;
