//! The datapath: what a worker core does to a burst of packets, and the tables it reads.
