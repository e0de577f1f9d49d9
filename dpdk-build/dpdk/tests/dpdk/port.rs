//! Ports: out of rings, and net_af_packet on a veth in a network namespace of the test's own.

use std::process::Command;
use std::time::{Duration, Instant};

use hearth_dpdk::{
    Burst, Eal, Mempool, Port, PortConfig, PortError, Queues, RingConsumer, RingProducer, RxQueue,
    spsc_ring,
};

use crate::{all_back, eal, fill, pool};

/// A port whose far ends the test holds.
fn ring_port(eal: &Eal, name: &str, pool: &Mempool) -> (Port, Queues, RingProducer, RingConsumer) {
    let (inject, rx) = spsc_ring(eal, &format!("{name}_rx"), 64).expect("a ring");
    let (tx, collect) = spsc_ring(eal, &format!("{name}_tx"), 64).expect("a ring");
    let (port, queues) = Port::from_rings(eal, name, vec![rx], vec![tx], pool).expect("a port");
    (port, queues, inject, collect)
}

#[test]
fn packets_go_in_and_out_of_a_ring_port() {
    let pool = pool("port_loop");
    let (port, mut queues, mut inject, mut collect) = ring_port(eal(), "loop", &pool);
    for n in 0..10_u8 {
        inject.push(pool.alloc_with(&[n; 60]).expect("an mbuf")).expect("room");
    }
    let mut burst = Burst::<64>::new();
    assert_eq!(queues.rx[0].receive(&mut burst), 10);
    for mbuf in burst.iter_mut() {
        mbuf.data_mut()[0] ^= 0xff;
    }
    assert_eq!((queues.tx[0].send(&mut burst), burst.len()), (10, 0));
    assert_eq!(collect.receive(&mut burst), 10);
    let first: Vec<u8> = burst.iter().map(|mbuf| mbuf.data()[0] ^ 0xff).collect();
    assert_eq!(first, (0..10).collect::<Vec<u8>>());
    let stats = port.stats().expect("counters");
    assert_eq!((stats.rx_packets, stats.tx_packets), (10, 10));
    assert_eq!((queues.rx[0].port(), queues.tx[0].queue()), (port.id(), 0));
    assert!(port.link().expect("a link").up);
    drop(burst);
    all_back(&pool);
}

#[test]
fn a_full_port_leaves_the_rest_in_the_burst() {
    let pool = pool("port_full");
    let (_port, mut queues, _inject, collect) = ring_port(eal(), "full", &pool);
    let mut burst = Burst::<100>::new();
    fill(&pool, &mut burst);
    assert_eq!((queues.tx[0].send(&mut burst), burst.len()), (64, 36));
    assert_eq!(queues.tx[0].send(&mut burst), 0);
    assert_eq!((burst.len(), pool.in_use()), (36, 100));
    drop(burst);
    assert_eq!(pool.in_use(), 64, "what is in the ring was freed");
    assert_eq!(collect.len(), 64);
    drop((collect, queues, _port));
    all_back(&pool);
}

#[test]
fn a_port_closes_with_its_last_queue_and_can_be_made_again() {
    let pool = pool("port_again");
    for _ in 0..3 {
        let (port, queues, mut inject, _collect) = ring_port(eal(), "again", &pool);
        inject.push(pool.alloc_with(&[1; 60]).expect("an mbuf")).expect("room");
        drop(port);
        let Queues { mut rx, tx } = queues;
        drop(tx);
        let mut burst = Burst::<4>::new();
        assert_eq!(rx[0].receive(&mut burst), 1, "the queue keeps the port open");
    }
    all_back(&pool);
}

#[test]
fn a_port_that_cannot_be_is_refused() {
    let pool = pool("port_refused");
    let config = PortConfig::default();
    let open = |name: &str| Port::open(eal(), name, &config, &pool).expect_err("no port");
    assert_eq!(open("net_nowhere0"), PortError::NoSuchPort);
    assert_eq!(open("nul\0"), PortError::BadName);
    let attach = |device| Port::attach(eal(), device, &config, &pool).expect_err("no device");
    assert!(matches!(attach("net_af_packet9,iface=nowhere9"), PortError::Attach(_)));
    let null = "net_null7";
    let refused = PortConfig { rx_queues: 0, ..config };
    let error = Port::attach(eal(), null, &refused, &pool).expect_err("no queue");
    assert!(matches!(error, PortError::Queues { .. }), "{error}");
    let refused = PortConfig { mtu: Some(10), ..config };
    let error = Port::attach(eal(), null, &refused, &pool).expect_err("a tiny MTU");
    assert!(matches!(error, PortError::Mtu { .. }), "{error}");
    // Nothing is left of the refused ones.
    let (port, _queues) = Port::attach(eal(), null, &config, &pool).expect("a null device");
    assert_eq!(Port::attach(eal(), null, &config, &pool).err(), Some(PortError::AlreadyOpen));
    assert_eq!(open(null), PortError::AlreadyOpen);
    drop((port, _queues));
    assert_eq!(open(null), PortError::NoSuchPort);
    all_back(&pool);
}

/// A capture file (classic pcap, little-endian, Ethernet) of one frame.
fn pcap(frame: &[u8]) -> Vec<u8> {
    let len = u32::try_from(frame.len()).expect("small");
    let header = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0x0004_0000, 1];
    let words = header.into_iter().chain([0, 0, len, len]);
    words.flat_map(u32::to_le_bytes).chain(frame.iter().copied()).collect()
}

#[test]
fn a_frame_in_several_segments_is_linearized_into_the_jumbo_pool() {
    let small = pool("port_segments");
    let jumbo = Mempool::new(eal(), "port_jumbo", 15, 0, 9216 + 128).expect("a pool");
    let frame: Vec<u8> = (0..5000_u32).map(|n| (n % 251) as u8).collect();
    let file = std::env::temp_dir().join(format!("hearth-segments-{}.pcap", std::process::id()));
    std::fs::write(&file, pcap(&frame)).expect("a temporary file");
    let device = format!("net_pcap5,rx_pcap={}", file.display());
    let (port, mut queues) =
        Port::attach(eal(), &device, &PortConfig::default(), &small).expect("a port");
    std::fs::remove_file(&file).expect("it is open already");
    let mut burst = Burst::<4>::new();
    assert_eq!(queues.rx[0].receive(&mut burst), 1);
    let mut mbuf = burst.pop().expect("one");
    assert_eq!((mbuf.segments(), mbuf.len(), small.in_use()), (3, 5000, 3));
    assert!(mbuf.data().len() < 5000 && mbuf.tailroom() == 0);
    assert!(mbuf.append(1).is_none() && mbuf.trim(1).is_none());
    mbuf.adj(14).expect("an Ethernet header");
    *mbuf.meta_mut::<u64>() = 77;

    // Too small a pool gives it back whole.
    let mbuf = mbuf.linearize(&small).expect_err("it does not fit");
    assert_eq!((mbuf.len(), small.in_use()), (4986, 3));
    let copy = mbuf.linearize(&jumbo).expect("it fits");
    assert_eq!((small.in_use(), jumbo.in_use(), copy.segments()), (0, 1, 1));
    assert!(copy.data() == &frame[14..]);
    assert_eq!((copy.port(), *copy.meta::<u64>()), (port.id(), 77));
    drop((copy, queues, port));
    assert_eq!(jumbo.in_use(), 0);
    all_back(&small);
}

#[test]
fn a_chain_passes_a_ring_port_as_it_is() {
    let pool = pool("port_chain");
    let (port, mut queues, _inject, mut collect) = ring_port(eal(), "chain", &pool);
    assert!(port.offloads().tx_segments);
    let mut chain = pool.alloc_with(&[1; 20]).expect("an mbuf");
    chain.append_chain(pool.alloc_with(&[2; 30]).expect("an mbuf")).expect("two segments");
    let mut burst = Burst::<4>::new();
    burst.push(chain).expect("room");
    assert_eq!(queues.tx[0].send(&mut burst), 1);
    assert_eq!(collect.receive(&mut burst), 1);
    let lens: Vec<_> = burst[0].segment_data().map(<[u8]>::len).collect();
    assert_eq!((lens, burst[0].len()), (vec![20, 30], 50));
    drop(burst);
    all_back(&pool);
}

#[test]
fn a_jumbo_mtu_is_set_where_the_port_allows_it() {
    let small = pool("port_mtu");
    let jumbo = Mempool::new(eal(), "port_mtu_jumbo", 15, 0, Mempool::JUMBO).expect("a pool");
    let config = PortConfig { mtu: Some(9000), ..PortConfig::default() };
    for (pool, device) in [(&small, "net_null8"), (&jumbo, "net_null9")] {
        let (port, _queues) = Port::attach(eal(), device, &config, pool).expect("a null device");
        assert_eq!(port.mtu().expect("an MTU"), 9000);
    }
    let (rx, tx) = (spsc_ring(eal(), "mtu_rx", 8), spsc_ring(eal(), "mtu_tx", 8));
    let ((_inject, rx), (tx, _collect)) = (rx.expect("a ring"), tx.expect("a ring"));
    let tiny = Mempool::new(eal(), "port_tiny", 15, 0, 1024).expect("a pool");
    let (port, _queues) = Port::from_rings(eal(), "tiny", vec![rx], vec![tx], &tiny).expect("one");
    assert!(port.offloads().rx_segments, "1500 octets do not fit its mbufs");
}

/// Runs `ip` with these words in this thread's namespace.
fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status().expect("iproute2");
    assert!(status.success(), "ip {words}");
}

/// Polls until a frame that starts with `start` has come.
fn wait_for(rx: &mut RxQueue, start: &[u8]) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut burst = Burst::<32>::new();
    while Instant::now() < deadline {
        rx.receive(&mut burst);
        for mbuf in burst.drain() {
            assert_eq!(mbuf.port(), rx.port());
            if mbuf.data().starts_with(start) {
                return mbuf.data().to_vec();
            }
        }
        std::thread::yield_now();
    }
    panic!("no such frame in 5 s");
}

#[test]
fn frames_cross_a_veth_between_two_af_packet_ports() {
    // This thread and the sockets that it opens live in a namespace that goes with it.
    // SAFETY: nothing that is shared is taken apart: the flag is not CLONE_FILES or CLONE_FS.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("root");
    ip("link add hd0 type veth peer name hd1");
    for side in ["hd0", "hd1"] {
        ip(&format!("link set {side} up"));
    }
    let pool = pool("port_veth");
    let config = PortConfig { promiscuous: true, ..PortConfig::default() };
    let open = |n: u8| {
        let device = format!("net_af_packet{n},iface=hd{n}");
        Port::attach(eal(), &device, &config, &pool).expect("a port on the veth")
    };
    let (port0, mut queues0) = open(0);
    let (_port1, mut queues1) = open(1);
    assert_ne!(port0.mac().expect("a MAC"), [0; 6]);
    assert_eq!(port0.mtu().expect("an MTU"), 1500);

    // To another station: promiscuous ports take it all the same. 88b5 is for experiments.
    let mut frame = vec![0x02, 0, 0, 0, 0, 9, 0x02, 0, 0, 0, 0, 8, 0x88, 0xb5];
    frame.resize(1514, 0xa5);
    for (tx, rx) in [(&mut queues0.tx, &mut queues1.rx), (&mut queues1.tx, &mut queues0.rx)] {
        let mut burst = Burst::<4>::new();
        burst.push(pool.alloc_with(&frame).expect("an mbuf")).expect("room");
        assert_eq!(tx[0].send(&mut burst), 1);
        assert_eq!(wait_for(&mut rx[0], &frame[..14]), frame);
        frame[5] += 1;
    }
    assert!(port0.stats().expect("counters").tx_packets >= 1);

    // net_af_packet copies the segments of a chain into one frame.
    assert!(port0.offloads().tx_segments);
    frame[5] += 1;
    let mut chain = pool.alloc_with(&frame[..100]).expect("an mbuf");
    for part in frame[100..].chunks(700) {
        chain.append_chain(pool.alloc_with(part).expect("an mbuf")).expect("few segments");
    }
    let mut burst = Burst::<4>::new();
    burst.push(chain).expect("room");
    assert_eq!(queues0.tx[0].send(&mut burst), 1);
    assert_eq!(wait_for(&mut queues1.rx[0], &frame[..14]), frame);
    all_back(&pool);
}
