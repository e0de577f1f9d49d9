/* What Rust cannot call or see directly: DPDK's static inline functions, structs whose layout
 * changed between releases, and the places of the few mbuf fields that the owning layer reads.
 * bindgen reads this file; the .c files hold the bodies and every difference between releases
 * (22.11 to 25.11). */
#ifndef HEARTH_DPDK_SHIM_H
#define HEARTH_DPDK_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_cryptodev.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_hash.h>
#include <rte_ip_frag.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>
#include <rte_version.h>

/* Where the fields of struct rte_mbuf stand; shim.c asserts their widths. */
enum hearth_mbuf_layout {
	HEARTH_MBUF_SIZE = sizeof(struct rte_mbuf),
	HEARTH_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	HEARTH_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	HEARTH_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	HEARTH_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	HEARTH_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	HEARTH_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	HEARTH_MBUF_PORT = offsetof(struct rte_mbuf, port),
	HEARTH_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	HEARTH_MBUF_TX_OFFLOAD = offsetof(struct rte_mbuf, tx_offload),
	HEARTH_MBUF_NEXT = offsetof(struct rte_mbuf, next),
	HEARTH_MBUF_HASH_RSS = offsetof(struct rte_mbuf, hash.rss),
	HEARTH_MBUF_HEADROOM = RTE_PKTMBUF_HEADROOM,
};

static const uint64_t HEARTH_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t HEARTH_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t HEARTH_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t HEARTH_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t HEARTH_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t HEARTH_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t HEARTH_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t HEARTH_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t HEARTH_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t HEARTH_TX_UDP_CKSUM = RTE_MBUF_F_TX_UDP_CKSUM;

static const uint64_t HEARTH_OFFLOAD_RX_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t HEARTH_OFFLOAD_RX_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t HEARTH_OFFLOAD_RX_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t HEARTH_OFFLOAD_RX_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t HEARTH_OFFLOAD_TX_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t HEARTH_OFFLOAD_TX_UDP_CKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t HEARTH_OFFLOAD_TX_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

/* What a NIC may spread received packets by, where it offers it. */
static const uint64_t HEARTH_RSS_WANTED = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;

/* rte_errno of this thread. */
int hearth_errno(void);

/* DPDK's heaps together, in octets and pieces. */
struct hearth_heap {
	uint64_t total;
	uint64_t allocated;
	uint64_t largest_free;
	uint32_t allocations;
	uint32_t free_pieces;
};

void hearth_heap_stats(struct hearth_heap *heap);

/* mbufs and pools */
/* Folds to the one's complement sum of the 16-bit words as they stand in memory; a zero is added to
 * the last. */
uint64_t hearth_sum_words(const uint8_t *octets, size_t count);

struct rte_mbuf *hearth_mbuf_alloc(struct rte_mempool *pool);
void hearth_mbuf_free(struct rte_mbuf *mbuf);
int hearth_mbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail);
int hearth_mbuf_trim(struct rte_mbuf *mbuf, uint16_t octets);

/* IP fragments. What became of one; but for WHOLE it is the table's or freed. */
enum hearth_fragment_outcome {
	HEARTH_FRAGMENT_HELD,
	HEARTH_FRAGMENT_WHOLE,
	HEARTH_FRAGMENT_TABLE_FULL,
	HEARTH_FRAGMENT_BAD_SET,
};
struct hearth_reassembly;
struct hearth_reassembly *hearth_reassembly_create(uint32_t flows, uint64_t timeout);
void hearth_reassembly_free(struct hearth_reassembly *table);
/* Adds a fragment of IPv4 or IPv6 whose headers were checked. `freed` counts the mbufs (segments)
 * that went back to their pools, of this set or of ones that had timed out. */
enum hearth_fragment_outcome hearth_reassembly_add(struct hearth_reassembly *table,
						   struct rte_mbuf *mbuf, uint8_t l2_len,
						   uint16_t l3_len, int ipv6, uint64_t now,
						   struct rte_mbuf **whole, uint32_t *freed);
uint32_t hearth_reassembly_expire(struct hearth_reassembly *table, uint64_t now);
/* Writes at most n fragments; returns how many, or an error number below 0. */
int hearth_fragment4(struct rte_mbuf *packet, struct rte_mbuf **out, uint16_t n, uint16_t mtu,
		     struct rte_mempool *direct, struct rte_mempool *indirect);
int hearth_fragment6(struct rte_mbuf *packet, struct rte_mbuf **out, uint16_t n, uint16_t mtu,
		     uint32_t id, struct rte_mempool *direct, struct rte_mempool *indirect);

/* rings of mbufs */
enum hearth_ring_kind { HEARTH_RING_SPSC, HEARTH_RING_MPSC };
struct rte_ring *hearth_ring_create(const char *name, unsigned int count,
				    enum hearth_ring_kind kind);
unsigned int hearth_ring_enqueue_burst(struct rte_ring *ring, struct rte_mbuf *const *mbufs,
				       unsigned int n);
unsigned int hearth_ring_dequeue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs,
				       unsigned int n);
unsigned int hearth_ring_count(const struct rte_ring *ring);
unsigned int hearth_ring_free_count(const struct rte_ring *ring);

/* ports */
struct hearth_eth_info {
	const char *driver;
	struct rte_device *device;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_types;
	uint32_t max_rx_queues;
	uint32_t max_tx_queues;
	uint32_t min_mtu;
	uint32_t max_mtu;
	uint32_t min_rx_room; /* smallest receive buffer, without headroom */
};

struct hearth_eth_conf {
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_types;
	uint32_t mtu; /* 0: leave as the driver has it */
	uint16_t rx_queues;
	uint16_t tx_queues;
	uint16_t rx_descriptors; /* in: wanted, out: what the driver allows */
	uint16_t tx_descriptors;
};

struct hearth_eth_stats {
	uint64_t rx_packets;
	uint64_t rx_bytes;
	uint64_t rx_missed;
	uint64_t rx_errors;
	uint64_t rx_no_mbuf;
	uint64_t tx_packets;
	uint64_t tx_bytes;
	uint64_t tx_errors;
};

struct hearth_eth_link {
	uint32_t mbps;
	uint8_t up;
	uint8_t full_duplex;
};

int hearth_eth_info(uint16_t port, struct hearth_eth_info *info);
int hearth_eth_setup(uint16_t port, struct hearth_eth_conf *conf, struct rte_mempool *pool);
int hearth_eth_mac(uint16_t port, uint8_t mac[6]);
int hearth_eth_link(uint16_t port, struct hearth_eth_link *link);
int hearth_eth_stats(uint16_t port, struct hearth_eth_stats *stats);
int hearth_eth_promiscuous(uint16_t port);
int hearth_eth_all_multicast(uint16_t port);
int hearth_eth_mtu(uint16_t port, uint16_t *mtu);
uint16_t hearth_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);
uint16_t hearth_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);

/* capture files; the descriptor is the file's from a successful open on */
enum hearth_direction { HEARTH_DIRECTION_UNKNOWN, HEARTH_DIRECTION_IN, HEARTH_DIRECTION_OUT };
struct hearth_pcapng;
struct hearth_pcapng *hearth_pcapng_open(int fd, const char *application, const char *comment);
void hearth_pcapng_close(struct hearth_pcapng *file);
/* Room that a packet needs beside its own octets and those of its comment. */
enum hearth_pcapng_layout { HEARTH_PCAPNG_OPTIONS = 64 };
/* Writes at most `limit` octets of the packet, through a copy from `pool`; an error number below
 * 0, -ENODEV for a port that was not there when the file was opened. `ns` is the time since 1970.
 * Threads take turns. */
int hearth_pcapng_write(struct hearth_pcapng *file, const struct rte_mbuf *packet,
			struct rte_mempool *pool, uint32_t limit, uint16_t port, uint16_t queue,
			uint64_t ns, enum hearth_direction direction, const char *comment);

/* crypto devices */
enum hearth_suite {
	HEARTH_SUITE_NULL_SHA1,
	HEARTH_SUITE_NULL_XCBC,
	HEARTH_SUITE_3DES_SHA1,
	HEARTH_SUITE_AES_SHA1,
	HEARTH_SUITE_AES_XCBC,
	HEARTH_SUITE_AES_GCM,
};
enum hearth_crypto_layout {
	HEARTH_GCM_AAD = 8, /* a session of AES-GCM has one length */
	HEARTH_CRYPTO_BURST = 32,
};
enum hearth_crypto_verdict {
	HEARTH_CRYPTO_DONE,
	HEARTH_CRYPTO_BAD_TAG,
	HEARTH_CRYPTO_FAILED,
};
struct hearth_crypto_info {
	const char *driver;
	struct rte_device *device;
	uint32_t max_queues;
	uint8_t symmetric;
};
struct hearth_crypto_op {
	const uint8_t *iv;
	uint32_t iv_len;
	uint32_t cipher_offset;
	uint32_t cipher_len;
	uint32_t auth_offset;
	uint32_t auth_len;
	uint32_t tag_offset; /* in the packet: where it goes, or stands to be verified */
};
int hearth_crypto_info(uint8_t dev, struct hearth_crypto_info *info);
/* The symmetric crypto device of a device on a bus; -1 where there is none. */
int hearth_crypto_by_bus(const char *name);
/* Configures the device and its queues and starts it. */
int hearth_crypto_setup(uint8_t dev, uint16_t queues, uint32_t descriptors);
void hearth_crypto_close(uint8_t dev, int started);
int hearth_crypto_supports(uint8_t dev, enum hearth_suite suite);
struct rte_mempool *hearth_crypto_session_pool(uint8_t dev, uint32_t sessions);
/* The keys are as long as the suite's; a session of AES-GCM takes the 16 octets of the key. */
void *hearth_crypto_session(uint8_t dev, struct rte_mempool *pool, enum hearth_suite suite,
			    int encrypt, const uint8_t *cipher_key, const uint8_t *auth_key);
void hearth_crypto_session_free(uint8_t dev, void *session);
struct rte_mempool *hearth_crypto_op_pool(uint8_t dev, uint16_t queue, uint32_t ops);
int hearth_crypto_op_alloc(struct rte_mempool *pool, struct rte_crypto_op **ops, uint16_t n);
void hearth_crypto_op_free(struct rte_crypto_op *op);
/* Makes an operation ready to be enqueued. */
void hearth_crypto_fill(struct rte_crypto_op *op, enum hearth_suite suite, void *session,
			struct rte_mbuf *mbuf, const struct hearth_crypto_op *what);
/* Enqueues what the device takes; what it has finished or refused at once is marked as back.
 * Returns how many of the first operations are no longer to be enqueued. */
uint16_t hearth_crypto_enqueue(uint8_t dev, uint16_t queue, struct rte_crypto_op **ops, uint16_t n);
/* Marks those that the device gives back; returns how many that were. */
uint16_t hearth_crypto_dequeue(uint8_t dev, uint16_t queue);
int hearth_crypto_is_back(const struct rte_crypto_op *op);
enum hearth_crypto_verdict hearth_crypto_verdict(const struct rte_crypto_op *op);

/* RCU by quiescent states */
struct rte_rcu_qsbr *hearth_qsbr_create(uint32_t max_threads);
void hearth_qsbr_free(struct rte_rcu_qsbr *qsbr);
void hearth_qsbr_online(struct rte_rcu_qsbr *qsbr, unsigned int thread);
void hearth_qsbr_offline(struct rte_rcu_qsbr *qsbr, unsigned int thread);
void hearth_qsbr_quiescent(struct rte_rcu_qsbr *qsbr, unsigned int thread);
uint64_t hearth_qsbr_epoch(const struct rte_rcu_qsbr *qsbr);
void hearth_qsbr_quiescent_at(struct rte_rcu_qsbr *qsbr, unsigned int thread, uint64_t epoch);
uint64_t hearth_qsbr_start(struct rte_rcu_qsbr *qsbr);
int hearth_qsbr_check(struct rte_rcu_qsbr *qsbr, uint64_t token);

/* hash tables, lock-free for readers, slots freed by RCU */
struct rte_hash *hearth_hash_create(const char *name, uint32_t entries, uint32_t key_len,
				    struct rte_rcu_qsbr *qsbr);

/* routes; next_hop_octets is 2, 4 or 8 for IPv6 and 1, 2, 4 or 8 for IPv4 */
struct rte_fib *hearth_fib_create(const char *name, int max_routes, uint32_t tbl8_groups,
				  unsigned int next_hop_octets, uint64_t default_next_hop);
struct rte_fib6 *hearth_fib6_create(const char *name, int max_routes, uint32_t tbl8_groups,
				    unsigned int next_hop_octets, uint64_t default_next_hop);
int hearth_fib6_add(struct rte_fib6 *fib, const uint8_t prefix[16], uint8_t len,
		    uint64_t next_hop);
int hearth_fib6_delete(struct rte_fib6 *fib, const uint8_t prefix[16], uint8_t len);
int hearth_fib6_lookup_bulk(struct rte_fib6 *fib, uint8_t (*ips)[16], uint64_t *next_hops, int n);

#endif
