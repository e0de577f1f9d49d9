//! The home agent daemon: where the dataplane and the sans-I/O home agent meet.
