//! The sans-I/O home agent: events and a time in, actions out (RFC 6275 s.10, RFC 5555 s.4.5).
