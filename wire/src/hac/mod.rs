//! The MN-HAC protocol inside TLS: container, TV-headers, MHAuth messages.
//!
//! Read first: RFC 6618 s.5.1 to 5.8; RFC 2616 s.2.1; readings.
