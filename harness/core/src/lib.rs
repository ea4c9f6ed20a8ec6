//! The words of isobench as types, and its file formats.
