//! The thin owning layer over DPDK and ipsec-mb: Eal, Port, Burst, Mbuf, Ring, Hash, Fib, MultiBuffer.
