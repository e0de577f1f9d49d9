//! The documents that hearthd serves on its Unix socket and the CLI reads.
