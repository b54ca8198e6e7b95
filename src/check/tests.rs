//! Tables of checks.
