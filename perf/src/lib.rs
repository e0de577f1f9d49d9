//! The performance lab: every figure a ratio taken in one run.
