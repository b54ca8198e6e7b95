//! The scheduler: jobs that ask for runs at their times, and the workers that carry runs out.
