#include "shim.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <rte_hash_crc.h>
#include <rte_malloc.h>
#include <rte_pcapng.h>
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

/* ---- IP fragments ---- */

struct hearth_reassembly {
	struct rte_ip_frag_tbl *table;
	struct rte_ip_frag_death_row dead;
};

struct hearth_reassembly *hearth_reassembly_create(uint32_t flows, uint64_t timeout)
{
	/* DPDK makes the table twice as large as its buckets, so that it is half full at most. */
	const uint32_t bucket_entries = 4;
	uint32_t buckets = (flows + bucket_entries - 1) / bucket_entries;
	struct hearth_reassembly *self = rte_zmalloc("hearth_reassembly", sizeof(*self), 0);

	if (self == NULL)
		return NULL;
	self->table = rte_ip_frag_table_create(buckets, bucket_entries, flows, timeout,
					       SOCKET_ID_ANY);
	if (self->table == NULL) {
		rte_free(self);
		self = NULL;
	}
	return self;
}

void hearth_reassembly_free(struct hearth_reassembly *self)
{
	rte_ip_frag_table_destroy(self->table);
	rte_free(self);
}

/* Empties the death row at once: it could overflow, and nobody is to wait for his mbufs. */
static uint32_t bury(struct rte_ip_frag_death_row *dead)
{
	uint32_t i, mbufs = 0;

	for (i = 0; i < dead->cnt; i++)
		mbufs += dead->row[i]->nb_segs;
	rte_ip_frag_free_death_row(dead, 0);
	return mbufs;
}

/* A set that does not join may have been chained in part already. */
static int is_dead(const struct rte_ip_frag_death_row *dead, const struct rte_mbuf *mbuf)
{
	const struct rte_mbuf *segment;
	uint32_t i;

	for (i = 0; i < dead->cnt; i++)
		for (segment = dead->row[i]; segment != NULL; segment = segment->next)
			if (segment == mbuf)
				return 1;
	return 0;
}

enum hearth_fragment_outcome hearth_reassembly_add(struct hearth_reassembly *self,
						   struct rte_mbuf *mbuf, uint8_t l2_len,
						   uint16_t l3_len, int ipv6, uint64_t now,
						   struct rte_mbuf **whole, uint32_t *freed)
{
	enum hearth_fragment_outcome outcome = HEARTH_FRAGMENT_HELD;
	void *ip = rte_pktmbuf_mtod_offset(mbuf, void *, l2_len);
	struct rte_mbuf *done;

	mbuf->l2_len = l2_len;
	mbuf->l3_len = l3_len;
	if (ipv6)
		done = rte_ipv6_frag_reassemble_packet(
			self->table, &self->dead, mbuf, now, ip,
			rte_ipv6_frag_get_ipv6_fragment_header(ip));
	else
		done = rte_ipv4_frag_reassemble_packet(self->table, &self->dead, mbuf, now, ip);
	if (done != NULL) {
		outcome = HEARTH_FRAGMENT_WHOLE;
		if (!ipv6) {
			struct rte_ipv4_hdr *header =
				rte_pktmbuf_mtod_offset(done, struct rte_ipv4_hdr *, l2_len);
			header->hdr_checksum = rte_ipv4_cksum(header);
		}
		/* What the NIC said, it said of the first fragment alone. */
		done->ol_flags = 0;
		done->tx_offload = 0;
	}
	/* A bad set has two fragments at least; a fragment that finds no place dies alone. */
	if (is_dead(&self->dead, mbuf))
		outcome = self->dead.cnt == 1 ? HEARTH_FRAGMENT_TABLE_FULL :
						HEARTH_FRAGMENT_BAD_SET;
	*freed = bury(&self->dead);
	*whole = done;
	return outcome;
}

uint32_t hearth_reassembly_expire(struct hearth_reassembly *self, uint64_t now)
{
	uint32_t mbufs = 0, buried;

	/* As many at a time as the death row takes. */
	do {
		rte_ip_frag_table_del_expired_entries(self->table, &self->dead, now);
		buried = bury(&self->dead);
		mbufs += buried;
	} while (buried != 0);
	return mbufs;
}

int hearth_fragment4(struct rte_mbuf *packet, struct rte_mbuf **out, uint16_t n, uint16_t mtu,
		     struct rte_mempool *direct, struct rte_mempool *indirect)
{
	int i, made = rte_ipv4_fragment_packet(packet, out, n, mtu, direct, indirect);

	for (i = 0; i < made; i++) {
		struct rte_ipv4_hdr *header = rte_pktmbuf_mtod(out[i], struct rte_ipv4_hdr *);

		header->hdr_checksum = rte_ipv4_cksum(header);
	}
	return made;
}

int hearth_fragment6(struct rte_mbuf *packet, struct rte_mbuf **out, uint16_t n, uint16_t mtu,
		     uint32_t id, struct rte_mempool *direct, struct rte_mempool *indirect)
{
	int i, made = rte_ipv6_fragment_packet(packet, out, n, mtu, direct, indirect);

	/* DPDK leaves the identification 0. */
	for (i = 0; i < made; i++)
		rte_pktmbuf_mtod_offset(out[i], struct rte_ipv6_fragment_ext *,
					sizeof(struct rte_ipv6_hdr))
			->id = rte_cpu_to_be_32(id);
	return made;
}

/* ---- rings ---- */

struct rte_ring *hearth_ring_create(const char *name, unsigned int count,
				    enum hearth_ring_kind kind)
{
	unsigned int flags = RING_F_EXACT_SZ | RING_F_SC_DEQ;

	if (kind == HEARTH_RING_SPSC)
		flags |= RING_F_SP_ENQ;
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

/* ---- capture files ---- */

#define PCAPNG_HAS_COMMENTS (RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0))

struct hearth_pcapng {
	rte_pcapng_t *file;
	/* Ports that have an interface in the file; DPDK does not check. */
	bool known[RTE_MAX_ETHPORTS];
};

#if PCAPNG_HAS_COMMENTS
static int add_interface(rte_pcapng_t *file, uint16_t port)
{
#if RTE_VERSION >= RTE_VERSION_NUM(25, 11, 0, 0)
	return rte_pcapng_add_interface(file, port, 1 /* Ethernet */, NULL, NULL, NULL);
#else
	return rte_pcapng_add_interface(file, port, NULL, NULL, NULL);
#endif
}
#else
static int add_interface(rte_pcapng_t *file, uint16_t port)
{
	/* rte_pcapng_fdopen has added all ports. */
	(void)file;
	(void)port;
	return 0;
}
#endif

struct hearth_pcapng *hearth_pcapng_open(int fd, const char *application, const char *comment)
{
	struct hearth_pcapng *self = rte_zmalloc("hearth_pcapng", sizeof(*self), 0);
	uint16_t port;

	if (self == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	RTE_ETH_FOREACH_DEV(port)
		self->known[port] = true;
	errno = 0;
	self->file = rte_pcapng_fdopen(fd, NULL, NULL, application, comment);
	if (self->file == NULL) {
		rte_errno = errno != 0 ? errno : EIO;
		rte_free(self);
		return NULL;
	}
	for (port = 0; port < RTE_MAX_ETHPORTS; port++)
		if (self->known[port] && add_interface(self->file, port) < 0)
			self->known[port] = false;
	return self;
}

void hearth_pcapng_close(struct hearth_pcapng *self)
{
	rte_pcapng_close(self->file);
	rte_free(self);
}

#if !PCAPNG_HAS_COMMENTS
/* 22.11 takes a time before its first packet's, or before one that was a second later, for one
 * in centuries. */
static void set_time(struct rte_mbuf *block, uint64_t ns)
{
	const uint32_t high = (uint32_t)(ns >> 32), low = (uint32_t)ns;

	memcpy(rte_pktmbuf_mtod_offset(block, char *, 12), &high, sizeof(high));
	memcpy(rte_pktmbuf_mtod_offset(block, char *, 16), &low, sizeof(low));
}

/* 22.11 makes an Enhanced Packet Block (block type, block length, ..., options, block length)
 * without comments. This puts one where the last word stands. */
static int add_comment(struct rte_mbuf *block, const char *comment)
{
	const uint16_t code = 1 /* opt_comment */, length = (uint16_t)strlen(comment);
	const uint16_t extra = 4 + RTE_ALIGN(length, 4) + 4 /* opt_endofopt */;
	char *end = rte_pktmbuf_append(block, extra);
	uint32_t block_length = rte_pktmbuf_data_len(block);
	char *option = end - sizeof(block_length);

	if (end == NULL)
		return -ENOSPC;
	memset(option, 0, extra);
	memcpy(option, &code, 2);
	memcpy(option + 2, &length, 2);
	memcpy(option + 4, comment, length);
	memcpy(option + extra, &block_length, sizeof(block_length));
	memcpy(rte_pktmbuf_mtod_offset(block, char *, 4), &block_length, sizeof(block_length));
	return 0;
}
#endif

int hearth_pcapng_write(struct hearth_pcapng *self, const struct rte_mbuf *packet,
			struct rte_mempool *pool, uint32_t limit, uint16_t port, uint16_t queue,
			uint64_t ns, enum hearth_direction direction, const char *comment)
{
	enum rte_pcapng_direction way = direction == HEARTH_DIRECTION_IN ? RTE_PCAPNG_DIRECTION_IN :
					direction == HEARTH_DIRECTION_OUT ?
									   RTE_PCAPNG_DIRECTION_OUT :
									   RTE_PCAPNG_DIRECTION_UNKNOWN;
	struct rte_mbuf *block;
	uint32_t length;
	ssize_t written;

	if (port >= RTE_MAX_ETHPORTS || !self->known[port])
		return -ENODEV;
#if PCAPNG_HAS_COMMENTS
	(void)ns;
	block = rte_pcapng_copy(port, queue, packet, pool, limit, way, comment);
	if (block == NULL)
		return -ENOMEM;
#else
	block = rte_pcapng_copy(port, queue, packet, pool, limit, rte_rdtsc(), way);
	if (block == NULL)
		return -ENOMEM;
	set_time(block, ns);
	if (comment != NULL && add_comment(block, comment) != 0) {
		rte_pktmbuf_free(block);
		return -ENOMEM;
	}
#endif
	length = rte_pktmbuf_pkt_len(block);
	written = rte_pcapng_write_packets(self->file, &block, 1);
	rte_pktmbuf_free(block);
	if (written < 0)
		return -rte_errno;
	return written == (ssize_t)length ? 0 : -ENOSPC;
}

/* ---- crypto devices ---- */

/* What stands behind an operation in the same pool element. */
struct crypto_private {
	uint8_t iv[16];
	uint8_t aad[16];
	uint8_t back;
};
#define CRYPTO_PRIVATE (sizeof(struct rte_crypto_op) + sizeof(struct rte_crypto_sym_op))

static struct crypto_private *crypto_private(const struct rte_crypto_op *op)
{
	return rte_crypto_op_ctod_offset(op, struct crypto_private *, CRYPTO_PRIVATE);
}

struct suite {
	uint8_t aead;
	uint8_t cipher; /* 0: none */
	uint8_t auth;
	uint8_t cipher_key, iv, auth_key, tag;
};

static const struct suite suites[] = {
	[HEARTH_SUITE_NULL_SHA1] = { 0, 0, RTE_CRYPTO_AUTH_SHA1_HMAC, 0, 0, 20, 12 },
	[HEARTH_SUITE_NULL_XCBC] = { 0, 0, RTE_CRYPTO_AUTH_AES_XCBC_MAC, 0, 0, 16, 12 },
	[HEARTH_SUITE_3DES_SHA1] = { 0, RTE_CRYPTO_CIPHER_3DES_CBC, RTE_CRYPTO_AUTH_SHA1_HMAC, 24, 8,
				     20, 12 },
	[HEARTH_SUITE_AES_SHA1] = { 0, RTE_CRYPTO_CIPHER_AES_CBC, RTE_CRYPTO_AUTH_SHA1_HMAC, 16, 16,
				    20, 12 },
	[HEARTH_SUITE_AES_XCBC] = { 0, RTE_CRYPTO_CIPHER_AES_CBC, RTE_CRYPTO_AUTH_AES_XCBC_MAC, 16,
				    16, 16, 12 },
	[HEARTH_SUITE_AES_GCM] = { RTE_CRYPTO_AEAD_AES_GCM, 0, 0, 16, 12, 0, 16 },
};

int hearth_crypto_info(uint8_t dev, struct hearth_crypto_info *info)
{
	struct rte_cryptodev_info state;

	if (!rte_cryptodev_is_valid_dev(dev))
		return -ENODEV;
	memset(&state, 0, sizeof(state));
	rte_cryptodev_info_get(dev, &state);
	info->driver = state.driver_name;
	info->device = state.device;
	info->max_queues = state.max_nb_queue_pairs;
	info->symmetric = (state.feature_flags & RTE_CRYPTODEV_FF_SYMMETRIC_CRYPTO) != 0;
	return 0;
}

int hearth_crypto_setup(uint8_t dev, uint16_t queues, uint32_t descriptors)
{
	int socket = rte_cryptodev_socket_id(dev);
	struct rte_cryptodev_config conf = {
		.socket_id = socket,
		.nb_queue_pairs = queues,
		.ff_disable = RTE_CRYPTODEV_FF_ASYMMETRIC_CRYPTO | RTE_CRYPTODEV_FF_SECURITY,
	};
	struct rte_cryptodev_qp_conf queue_conf = { .nb_descriptors = descriptors };
	uint16_t queue;
	int rc = rte_cryptodev_configure(dev, &conf);

	for (queue = 0; rc == 0 && queue < queues; queue++)
		rc = rte_cryptodev_queue_pair_setup(dev, queue, &queue_conf, socket);
	return rc != 0 ? rc : rte_cryptodev_start(dev);
}

void hearth_crypto_close(uint8_t dev, int started)
{
	if (started)
		rte_cryptodev_stop(dev);
	rte_cryptodev_close(dev);
}

static const struct rte_cryptodev_symmetric_capability *
capability(uint8_t dev, enum rte_crypto_sym_xform_type type, int algorithm)
{
	struct rte_cryptodev_sym_capability_idx index = { .type = type };

	if (type == RTE_CRYPTO_SYM_XFORM_CIPHER)
		index.algo.cipher = algorithm;
	else if (type == RTE_CRYPTO_SYM_XFORM_AUTH)
		index.algo.auth = algorithm;
	else
		index.algo.aead = algorithm;
	return rte_cryptodev_sym_capability_get(dev, &index);
}

int hearth_crypto_supports(uint8_t dev, enum hearth_suite number)
{
	const struct suite *suite = &suites[number];
	const struct rte_cryptodev_symmetric_capability *able;

	if (suite->aead != 0) {
		able = capability(dev, RTE_CRYPTO_SYM_XFORM_AEAD, suite->aead);
		return able != NULL &&
		       rte_cryptodev_sym_capability_check_aead(able, suite->cipher_key, suite->tag,
							       HEARTH_GCM_AAD, suite->iv) == 0;
	}
	if (suite->cipher != 0) {
		able = capability(dev, RTE_CRYPTO_SYM_XFORM_CIPHER, suite->cipher);
		if (able == NULL || rte_cryptodev_sym_capability_check_cipher(
					    able, suite->cipher_key, suite->iv) != 0)
			return 0;
	}
	able = capability(dev, RTE_CRYPTO_SYM_XFORM_AUTH, suite->auth);
	return able != NULL &&
	       rte_cryptodev_sym_capability_check_auth(able, suite->auth_key, suite->tag, 0) == 0;
}

struct rte_mempool *hearth_crypto_session_pool(uint8_t dev, uint32_t sessions)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "hearth_session_%u", dev);
	return rte_cryptodev_sym_session_pool_create(
		name, sessions, rte_cryptodev_sym_get_private_session_size(dev), 0, 0,
		rte_cryptodev_socket_id(dev));
}

void *hearth_crypto_session(uint8_t dev, struct rte_mempool *pool, enum hearth_suite number,
			    int encrypt, const uint8_t *cipher_key, const uint8_t *auth_key)
{
	const struct suite *suite = &suites[number];
	const uint16_t iv_offset = CRYPTO_PRIVATE + offsetof(struct crypto_private, iv);
	struct rte_crypto_sym_xform first, second, *cipher, *auth;

	memset(&first, 0, sizeof(first));
	memset(&second, 0, sizeof(second));
	if (suite->aead != 0) {
		first.type = RTE_CRYPTO_SYM_XFORM_AEAD;
		first.aead.op = encrypt ? RTE_CRYPTO_AEAD_OP_ENCRYPT : RTE_CRYPTO_AEAD_OP_DECRYPT;
		first.aead.algo = suite->aead;
		first.aead.key.data = cipher_key;
		first.aead.key.length = suite->cipher_key;
		first.aead.iv.offset = iv_offset;
		first.aead.iv.length = suite->iv;
		first.aead.digest_length = suite->tag;
		first.aead.aad_length = HEARTH_GCM_AAD;
		return rte_cryptodev_sym_session_create(dev, &first, pool);
	}
	/* Encrypt then authenticate; verify then decrypt. */
	cipher = encrypt ? &first : &second;
	auth = suite->cipher == 0 ? &first : encrypt ? &second : &first;
	auth->type = RTE_CRYPTO_SYM_XFORM_AUTH;
	auth->auth.op = encrypt ? RTE_CRYPTO_AUTH_OP_GENERATE : RTE_CRYPTO_AUTH_OP_VERIFY;
	auth->auth.algo = suite->auth;
	auth->auth.key.data = auth_key;
	auth->auth.key.length = suite->auth_key;
	auth->auth.digest_length = suite->tag;
	if (suite->cipher != 0) {
		first.next = &second;
		cipher->type = RTE_CRYPTO_SYM_XFORM_CIPHER;
		cipher->cipher.op =
			encrypt ? RTE_CRYPTO_CIPHER_OP_ENCRYPT : RTE_CRYPTO_CIPHER_OP_DECRYPT;
		cipher->cipher.algo = suite->cipher;
		cipher->cipher.key.data = cipher_key;
		cipher->cipher.key.length = suite->cipher_key;
		cipher->cipher.iv.offset = iv_offset;
		cipher->cipher.iv.length = suite->iv;
	}
	return rte_cryptodev_sym_session_create(dev, &first, pool);
}

void hearth_crypto_session_free(uint8_t dev, void *session)
{
	/* It wipes the keys. */
	rte_cryptodev_sym_session_free(dev, session);
}

struct rte_mempool *hearth_crypto_op_pool(uint8_t dev, uint16_t queue, uint32_t ops)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "hearth_ops_%u_%u", dev, queue);
	return rte_crypto_op_pool_create(name, RTE_CRYPTO_OP_TYPE_SYMMETRIC, ops, 0,
					 sizeof(struct crypto_private),
					 rte_cryptodev_socket_id(dev));
}

int hearth_crypto_op_alloc(struct rte_mempool *pool, struct rte_crypto_op **ops, uint16_t n)
{
	return rte_crypto_op_bulk_alloc(pool, RTE_CRYPTO_OP_TYPE_SYMMETRIC, ops, n) == n ? 0 :
											   -ENOMEM;
}

void hearth_crypto_op_free(struct rte_crypto_op *op)
{
	rte_crypto_op_free(op);
}

void hearth_crypto_fill(struct rte_crypto_op *op, enum hearth_suite number, void *session,
			struct rte_mbuf *mbuf, const struct hearth_crypto_op *what)
{
	struct crypto_private *private = crypto_private(op);
	struct rte_crypto_sym_op *sym = op->sym;
	uint8_t *tag = rte_pktmbuf_mtod_offset(mbuf, uint8_t *, what->tag_offset);
	rte_iova_t tag_iova = rte_pktmbuf_iova_offset(mbuf, what->tag_offset);

	__rte_crypto_op_reset(op, RTE_CRYPTO_OP_TYPE_SYMMETRIC);
	rte_crypto_op_attach_sym_session(op, session);
	private->back = 0;
	memcpy(private->iv, what->iv, what->iv_len);
	sym->m_src = mbuf;
	if (suites[number].aead != 0) {
		/* Some devices read the additional data in units of 16 octets. */
		memset(private->aad, 0, sizeof(private->aad));
		memcpy(private->aad, rte_pktmbuf_mtod_offset(mbuf, void *, what->auth_offset),
		       HEARTH_GCM_AAD);
		sym->aead.data.offset = what->cipher_offset;
		sym->aead.data.length = what->cipher_len;
		sym->aead.digest.data = tag;
		sym->aead.digest.phys_addr = tag_iova;
		sym->aead.aad.data = private->aad;
		sym->aead.aad.phys_addr = rte_crypto_op_ctophys_offset(
			op, CRYPTO_PRIVATE + offsetof(struct crypto_private, aad));
		return;
	}
	sym->cipher.data.offset = what->cipher_offset;
	sym->cipher.data.length = what->cipher_len;
	sym->auth.data.offset = what->auth_offset;
	sym->auth.data.length = what->auth_len;
	sym->auth.digest.data = tag;
	sym->auth.digest.phys_addr = tag_iova;
}

uint16_t hearth_crypto_enqueue(uint8_t dev, uint16_t queue, struct rte_crypto_op **ops, uint16_t n)
{
	uint16_t done = 0;

	while (done < n) {
		done += rte_cryptodev_enqueue_burst(dev, queue, ops + done, n - done);
		/* A full queue leaves the operation untouched; one that the device has refused, or
		 * (crypto_openssl) carried out without taking it, must not go in again. */
		if (done == n || ops[done]->status == RTE_CRYPTO_OP_STATUS_NOT_PROCESSED)
			break;
		crypto_private(ops[done])->back = 1;
		done++;
	}
	return done;
}

uint16_t hearth_crypto_dequeue(uint8_t dev, uint16_t queue)
{
	struct rte_crypto_op *ops[HEARTH_CRYPTO_BURST];
	uint16_t i, n = rte_cryptodev_dequeue_burst(dev, queue, ops, HEARTH_CRYPTO_BURST);

	for (i = 0; i < n; i++)
		crypto_private(ops[i])->back = 1;
	return n;
}

int hearth_crypto_is_back(const struct rte_crypto_op *op)
{
	return crypto_private(op)->back;
}

enum hearth_crypto_verdict hearth_crypto_verdict(const struct rte_crypto_op *op)
{
	switch (op->status) {
	case RTE_CRYPTO_OP_STATUS_SUCCESS:
		return HEARTH_CRYPTO_DONE;
	case RTE_CRYPTO_OP_STATUS_AUTH_FAILED:
		return HEARTH_CRYPTO_BAD_TAG;
	default:
		return HEARTH_CRYPTO_FAILED;
	}
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
