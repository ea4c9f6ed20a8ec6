//! The isobench program.
