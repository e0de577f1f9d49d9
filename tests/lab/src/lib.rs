//! The lab of network namespaces, and the demo in it.
