#include "shim.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <rte_hash_crc.h>
#include <rte_malloc.h>
#include <rte_random.h>

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0)
#error "DPDK 22.11 or newer is needed"
#endif

/* The owning layer reads and writes these fields at the offsets in shim.h. */
#define FIELD_IS(field, octets) \
	static_assert(sizeof(((struct rte_mbuf *)0)->field) == (octets), "width of " #field)
FIELD_IS(buf_addr, sizeof(void *));
FIELD_IS(next, sizeof(void *));
FIELD_IS(buf_len, 2);
FIELD_IS(data_off, 2);
FIELD_IS(data_len, 2);
FIELD_IS(pkt_len, 4);
FIELD_IS(nb_segs, 2);
FIELD_IS(port, 2);
FIELD_IS(ol_flags, 8);
FIELD_IS(tx_offload, 8);
FIELD_IS(hash.rss, 4);
/* l2_len is the lowest part of tx_offload and l3_len the next; set together as one word. */
static_assert(RTE_MBUF_L2_LEN_BITS == 7 && RTE_MBUF_L3_LEN_BITS == 9, "tx_offload layout");

int hearth_errno(void)
{
	return rte_errno;
}

/* ---- the heap ---- */

void hearth_heap_stats(struct hearth_heap *heap)
{
	struct rte_malloc_socket_stats stats;
	unsigned int i;

	memset(heap, 0, sizeof(*heap));
	for (i = 0; i < rte_socket_count(); i++) {
		if (rte_malloc_get_socket_stats(rte_socket_id_by_idx(i), &stats) != 0)
			continue;
		heap->total += stats.heap_totalsz_bytes;
		heap->allocated += stats.heap_allocsz_bytes;
		heap->allocations += stats.alloc_count;
		heap->free_pieces += stats.free_count;
		if (stats.greatest_free_size > heap->largest_free)
			heap->largest_free = stats.greatest_free_size;
	}
}

/* ---- mbufs and pools ---- */

struct rte_mbuf *hearth_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void hearth_mbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

int hearth_mbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail)
{
	return rte_pktmbuf_chain(head, tail);
}

int hearth_mbuf_trim(struct rte_mbuf *mbuf, uint16_t octets)
{
	return rte_pktmbuf_trim(mbuf, octets);
}

/* ---- rings ---- */

struct rte_ring *hearth_ring_create(const char *name, unsigned int count,
				    enum hearth_ring_kind kind)
{
	unsigned int flags = RING_F_EXACT_SZ | RING_F_SC_DEQ;

	/* A producer that loses its core while it enqueues must not make the others spin until it is
	 * back: relaxed tail sync, for about 14 cycles more per call. */
	flags |= kind == HEARTH_RING_SPSC ? RING_F_SP_ENQ : RING_F_MP_RTS_ENQ;
	return rte_ring_create(name, count, SOCKET_ID_ANY, flags);
}

unsigned int hearth_ring_enqueue_burst(struct rte_ring *ring, struct rte_mbuf *const *mbufs,
				       unsigned int n)
{
	return rte_ring_enqueue_burst(ring, (void *const *)mbufs, n, NULL);
}

unsigned int hearth_ring_dequeue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs,
				       unsigned int n)
{
	return rte_ring_dequeue_burst(ring, (void **)mbufs, n, NULL);
}

unsigned int hearth_ring_count(const struct rte_ring *ring)
{
	return rte_ring_count(ring);
}

unsigned int hearth_ring_free_count(const struct rte_ring *ring)
{
	return rte_ring_free_count(ring);
}

/* ---- ports ---- */

int hearth_eth_info(uint16_t port, struct hearth_eth_info *info)
{
	struct rte_eth_dev_info dev;
	int rc = rte_eth_dev_info_get(port, &dev);

	if (rc != 0)
		return rc;
	info->driver = dev.driver_name;
	info->device = dev.device;
	info->rx_offloads = dev.rx_offload_capa;
	info->tx_offloads = dev.tx_offload_capa;
	info->rss_types = dev.flow_type_rss_offloads;
	info->max_rx_queues = dev.max_rx_queues;
	info->max_tx_queues = dev.max_tx_queues;
	info->min_mtu = dev.min_mtu;
	info->max_mtu = dev.max_mtu;
	info->min_rx_room = dev.min_rx_bufsize;
	return 0;
}

static int setup_queues(uint16_t port, const struct rte_eth_dev_info *dev,
			const struct rte_eth_conf *eth, const struct hearth_eth_conf *conf,
			struct rte_mempool *pool)
{
	struct rte_eth_rxconf rx = dev->default_rxconf;
	struct rte_eth_txconf tx = dev->default_txconf;
	int socket = rte_eth_dev_socket_id(port);
	uint16_t queue;
	int rc;

	rx.offloads = eth->rxmode.offloads;
	tx.offloads = eth->txmode.offloads;
	for (queue = 0; queue < conf->rx_queues; queue++) {
		rc = rte_eth_rx_queue_setup(port, queue, conf->rx_descriptors,
					    (unsigned int)socket, &rx, pool);
		if (rc != 0)
			return rc;
	}
	for (queue = 0; queue < conf->tx_queues; queue++) {
		rc = rte_eth_tx_queue_setup(port, queue, conf->tx_descriptors,
					    (unsigned int)socket, &tx);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int hearth_eth_setup(uint16_t port, struct hearth_eth_conf *conf, struct rte_mempool *pool)
{
	struct rte_eth_dev_info dev;
	struct rte_eth_conf eth;
	int rc = rte_eth_dev_info_get(port, &dev);

	if (rc != 0)
		return rc;
	memset(&eth, 0, sizeof(eth));
	eth.rxmode.offloads = conf->rx_offloads;
	eth.txmode.offloads = conf->tx_offloads;
	if (conf->mtu != 0)
		eth.rxmode.mtu = conf->mtu;
	if (conf->rss_types != 0) {
		eth.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		eth.rx_adv_conf.rss_conf.rss_hf = conf->rss_types;
	}
	rc = rte_eth_dev_configure(port, conf->rx_queues, conf->tx_queues, &eth);
	if (rc != 0)
		return rc;
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(port, &conf->rx_descriptors, &conf->tx_descriptors);
	if (rc != 0)
		return rc;
	rc = setup_queues(port, &dev, &eth, conf, pool);
	if (rc != 0)
		return rc;
	if (conf->mtu == 0)
		return 0;
	/* Some drivers take the MTU from the configuration alone. */
	rc = rte_eth_dev_set_mtu(port, (uint16_t)conf->mtu);
	return rc == -ENOTSUP ? 0 : rc;
}

int hearth_eth_mac(uint16_t port, uint8_t mac[6])
{
	struct rte_ether_addr addr;
	int rc = rte_eth_macaddr_get(port, &addr);

	if (rc == 0)
		memcpy(mac, addr.addr_bytes, 6);
	return rc;
}

int hearth_eth_link(uint16_t port, struct hearth_eth_link *link)
{
	struct rte_eth_link state;
	int rc;

	memset(&state, 0, sizeof(state));
	rc = rte_eth_link_get_nowait(port, &state);
	if (rc != 0)
		return rc;
	link->mbps = state.link_speed;
	link->up = state.link_status == RTE_ETH_LINK_UP;
	link->full_duplex = state.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	return 0;
}

int hearth_eth_stats(uint16_t port, struct hearth_eth_stats *stats)
{
	struct rte_eth_stats state;
	int rc = rte_eth_stats_get(port, &state);

	if (rc != 0)
		return rc;
	stats->rx_packets = state.ipackets;
	stats->rx_bytes = state.ibytes;
	stats->rx_missed = state.imissed;
	stats->rx_errors = state.ierrors;
	stats->rx_no_mbuf = state.rx_nombuf;
	stats->tx_packets = state.opackets;
	stats->tx_bytes = state.obytes;
	stats->tx_errors = state.oerrors;
	return 0;
}

int hearth_eth_promiscuous(uint16_t port)
{
	int rc = rte_eth_promiscuous_enable(port);

	return rc == -ENOTSUP ? 0 : rc;
}

int hearth_eth_all_multicast(uint16_t port)
{
	int rc = rte_eth_allmulticast_enable(port);

	return rc == -ENOTSUP ? 0 : rc;
}

int hearth_eth_mtu(uint16_t port, uint16_t *mtu)
{
	return rte_eth_dev_get_mtu(port, mtu);
}

uint16_t hearth_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, mbufs, n);
}

uint16_t hearth_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, mbufs, n);
}

/* ---- RCU ---- */

struct rte_rcu_qsbr *hearth_qsbr_create(uint32_t max_threads)
{
	size_t size = rte_rcu_qsbr_get_memsize(max_threads);
	struct rte_rcu_qsbr *qsbr;

	if (size == 1) /* how 22.11 says "wrong parameter" */
		return NULL;
	qsbr = rte_zmalloc("hearth_qsbr", size, RTE_CACHE_LINE_SIZE);
	if (qsbr != NULL && rte_rcu_qsbr_init(qsbr, max_threads) != 0) {
		rte_free(qsbr);
		qsbr = NULL;
	}
	return qsbr;
}

void hearth_qsbr_free(struct rte_rcu_qsbr *qsbr)
{
	rte_free(qsbr);
}

void hearth_qsbr_online(struct rte_rcu_qsbr *qsbr, unsigned int thread)
{
	rte_rcu_qsbr_thread_online(qsbr, thread);
}

void hearth_qsbr_offline(struct rte_rcu_qsbr *qsbr, unsigned int thread)
{
	rte_rcu_qsbr_thread_offline(qsbr, thread);
}

void hearth_qsbr_quiescent(struct rte_rcu_qsbr *qsbr, unsigned int thread)
{
	rte_rcu_qsbr_quiescent(qsbr, thread);
}

#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
#define LOAD_ACQUIRE(p) rte_atomic_load_explicit((p), rte_memory_order_acquire)
#define LOAD_RELAXED(p) rte_atomic_load_explicit((p), rte_memory_order_relaxed)
#define STORE_RELEASE(p, v) rte_atomic_store_explicit((p), (v), rte_memory_order_release)
#else
#define LOAD_ACQUIRE(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define LOAD_RELAXED(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define STORE_RELEASE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#endif

/* rte_rcu_qsbr_quiescent in two halves: the token is read when a batch of jobs is cut off, and
 * reported when the last of those jobs has left the lanes. */
uint64_t hearth_qsbr_epoch(const struct rte_rcu_qsbr *qsbr)
{
	return LOAD_ACQUIRE(&qsbr->token);
}

void hearth_qsbr_quiescent_at(struct rte_rcu_qsbr *qsbr, unsigned int thread, uint64_t epoch)
{
	uint64_t seen = LOAD_RELAXED(&qsbr->qsbr_cnt[thread].cnt);

	/* 0: the thread is offline and stays so. */
	if (seen != 0 && epoch > seen)
		STORE_RELEASE(&qsbr->qsbr_cnt[thread].cnt, epoch);
}

uint64_t hearth_qsbr_start(struct rte_rcu_qsbr *qsbr)
{
	return rte_rcu_qsbr_start(qsbr);
}

int hearth_qsbr_check(struct rte_rcu_qsbr *qsbr, uint64_t token)
{
	return rte_rcu_qsbr_check(qsbr, token, false);
}

/* ---- hash tables ---- */

struct rte_hash *hearth_hash_create(const char *name, uint32_t entries, uint32_t key_len,
				    struct rte_rcu_qsbr *qsbr)
{
	struct rte_hash_parameters parameters = {
		.name = name,
		.entries = entries,
		.key_len = key_len,
		/* Two instructions for 16 octets. A collision costs one more bucket; which keys
		   are in the table is for the operator to say, not for a stranger. */
		.hash_func = rte_hash_crc,
		.hash_func_init_val = (uint32_t)rte_rand(),
		.socket_id = SOCKET_ID_ANY,
		/* EXT_TABLE: as many keys as were asked for, wherever they collide. */
		.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF |
			      RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};
	struct rte_hash_rcu_config rcu = { .v = qsbr, .mode = RTE_HASH_QSBR_MODE_DQ };
	struct rte_hash *hash = rte_hash_create(&parameters);

	if (hash != NULL && rte_hash_rcu_qsbr_add(hash, &rcu) != 0) {
		rte_hash_free(hash);
		hash = NULL;
	}
	return hash;
}

/* ---- routes ---- */

struct rte_fib *hearth_fib_create(const char *name, int max_routes, uint32_t tbl8_groups,
				  unsigned int next_hop_octets, uint64_t default_next_hop)
{
	struct rte_fib_conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.type = RTE_FIB_DIR24_8;
	conf.default_nh = default_next_hop;
	conf.max_routes = max_routes;
	conf.dir24_8.num_tbl8 = tbl8_groups;
	conf.dir24_8.nh_sz = next_hop_octets == 1 ? RTE_FIB_DIR24_8_1B :
			     next_hop_octets == 2 ? RTE_FIB_DIR24_8_2B :
			     next_hop_octets == 4 ? RTE_FIB_DIR24_8_4B :
						    RTE_FIB_DIR24_8_8B;
	return rte_fib_create(name, SOCKET_ID_ANY, &conf);
}

struct rte_fib6 *hearth_fib6_create(const char *name, int max_routes, uint32_t tbl8_groups,
				    unsigned int next_hop_octets, uint64_t default_next_hop)
{
	struct rte_fib6_conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.type = RTE_FIB6_TRIE;
	conf.default_nh = default_next_hop;
	conf.max_routes = max_routes;
	conf.trie.num_tbl8 = tbl8_groups;
	conf.trie.nh_sz = next_hop_octets == 2 ? RTE_FIB6_TRIE_2B :
			  next_hop_octets == 4 ? RTE_FIB6_TRIE_4B :
						 RTE_FIB6_TRIE_8B;
	return rte_fib6_create(name, SOCKET_ID_ANY, &conf);
}

int hearth_fib6_add(struct rte_fib6 *fib, const uint8_t prefix[16], uint8_t len,
		    uint64_t next_hop)
{
#if RTE_VERSION >= RTE_VERSION_NUM(24, 11, 0, 0)
	return rte_fib6_add(fib, (const struct rte_ipv6_addr *)prefix, len, next_hop);
#else
	return rte_fib6_add(fib, prefix, len, next_hop);
#endif
}

int hearth_fib6_delete(struct rte_fib6 *fib, const uint8_t prefix[16], uint8_t len)
{
#if RTE_VERSION >= RTE_VERSION_NUM(24, 11, 0, 0)
	return rte_fib6_delete(fib, (const struct rte_ipv6_addr *)prefix, len);
#else
	return rte_fib6_delete(fib, prefix, len);
#endif
}

int hearth_fib6_lookup_bulk(struct rte_fib6 *fib, uint8_t (*ips)[16], uint64_t *next_hops, int n)
{
#if RTE_VERSION >= RTE_VERSION_NUM(24, 11, 0, 0)
	return rte_fib6_lookup_bulk(fib, (const struct rte_ipv6_addr *)ips, next_hops, n);
#else
	return rte_fib6_lookup_bulk(fib, ips, next_hops, n);
#endif
}
