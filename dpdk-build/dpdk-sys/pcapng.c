#include "shim.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <rte_malloc.h>
#include <rte_pcapng.h>

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
