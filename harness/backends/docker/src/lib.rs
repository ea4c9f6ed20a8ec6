//! Docker containers.
