//! The dialect against the catalogue and against recorded frames of the real service.
