//! The feed: the event log by cursor. Caches, web sockets and the scheduler hang on it.
