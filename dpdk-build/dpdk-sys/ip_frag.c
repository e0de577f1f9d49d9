#include "shim.h"

#include <rte_malloc.h>

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
