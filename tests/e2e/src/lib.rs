//! End-to-end tests in network namespaces, with programs of others as peers.
