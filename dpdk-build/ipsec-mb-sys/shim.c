#include "shim.h"

#include <assert.h>

/* The owning layer writes these fields at the offsets in shim.h. */
#define FIELD_IS(field, octets) \
	static_assert(sizeof(((IMB_JOB *)0)->field) == (octets), "width of " #field)
FIELD_IS(enc_keys, 8);
FIELD_IS(dec_keys, 8);
FIELD_IS(key_len_in_bytes, 8);
FIELD_IS(src, 8);
FIELD_IS(dst, 8);
FIELD_IS(cipher_start_src_offset_in_bytes, 8);
FIELD_IS(msg_len_to_cipher_in_bytes, 8);
FIELD_IS(hash_start_src_offset_in_bytes, 8);
FIELD_IS(msg_len_to_hash_in_bytes, 8);
FIELD_IS(iv, 8);
FIELD_IS(iv_len_in_bytes, 8);
FIELD_IS(auth_tag_output, 8);
FIELD_IS(auth_tag_output_len_in_bytes, 8);
FIELD_IS(u.GCM.aad, 8);
FIELD_IS(u.GCM.aad_len_in_bytes, 8);
FIELD_IS(status, 4);
FIELD_IS(cipher_mode, 4);
FIELD_IS(cipher_direction, 4);
FIELD_IS(hash_alg, 4);
FIELD_IS(chain_order, 4);
FIELD_IS(user_data, 8);
FIELD_IS(user_data2, 8);

int hearth_imb_init(IMB_MGR *mgr, enum hearth_imb_arch arch)
{
	switch (arch) {
	case HEARTH_ARCH_SSE:
		init_mb_mgr_sse(mgr);
		break;
	case HEARTH_ARCH_AVX:
		init_mb_mgr_avx(mgr);
		break;
	case HEARTH_ARCH_AVX2:
		init_mb_mgr_avx2(mgr);
		break;
	case HEARTH_ARCH_AVX512:
		init_mb_mgr_avx512(mgr);
		break;
	default:
		init_mb_mgr_auto(mgr, NULL);
		break;
	}
	return imb_get_errno(mgr);
}

enum hearth_imb_arch hearth_imb_arch_of(const IMB_MGR *mgr)
{
	switch ((IMB_ARCH)mgr->used_arch) {
	case IMB_ARCH_SSE:
		return HEARTH_ARCH_SSE;
	case IMB_ARCH_AVX:
		return HEARTH_ARCH_AVX;
	case IMB_ARCH_AVX2:
		return HEARTH_ARCH_AVX2;
	case IMB_ARCH_AVX512:
		return HEARTH_ARCH_AVX512;
	default:
		return HEARTH_ARCH_OTHER;
	}
}

IMB_JOB *hearth_imb_next_job(IMB_MGR *mgr)
{
	return IMB_GET_NEXT_JOB(mgr);
}

/* The owning layer checks lengths and pointers itself, before a job is filled. */
IMB_JOB *hearth_imb_submit_job(IMB_MGR *mgr)
{
	return IMB_SUBMIT_JOB_NOCHECK(mgr);
}

IMB_JOB *hearth_imb_completed_job(IMB_MGR *mgr)
{
	return IMB_GET_COMPLETED_JOB(mgr);
}

IMB_JOB *hearth_imb_flush_job(IMB_MGR *mgr)
{
	return IMB_FLUSH_JOB(mgr);
}

uint32_t hearth_imb_next_burst(IMB_MGR *mgr, uint32_t n, IMB_JOB **jobs)
{
	return IMB_GET_NEXT_BURST(mgr, n, jobs);
}

uint32_t hearth_imb_submit_burst(IMB_MGR *mgr, uint32_t n, IMB_JOB **jobs)
{
	return IMB_SUBMIT_BURST_NOCHECK(mgr, n, jobs);
}

uint32_t hearth_imb_flush_burst(IMB_MGR *mgr, uint32_t max, IMB_JOB **jobs)
{
	return IMB_FLUSH_BURST(mgr, max, jobs);
}

void hearth_imb_aes128_keyexp(IMB_MGR *mgr, const uint8_t key[16], uint8_t enc[176],
			      uint8_t dec[176])
{
	IMB_AES_KEYEXP_128(mgr, key, enc, dec);
}

void hearth_imb_des_keysched(IMB_MGR *mgr, uint64_t schedule[16], const uint8_t key[8])
{
	IMB_DES_KEYSCHED(mgr, schedule, key);
}

void hearth_imb_sha1_one_block(IMB_MGR *mgr, const uint8_t block[64], uint8_t digest[20])
{
	IMB_SHA1_ONE_BLOCK(mgr, block, digest);
}

void hearth_imb_xcbc_keyexp(IMB_MGR *mgr, const uint8_t key[16], uint8_t k1[176], uint8_t k2[16],
			    uint8_t k3[16])
{
	IMB_AES_XCBC_KEYEXP(mgr, key, k1, k2, k3);
}

void hearth_imb_aes128_gcm_pre(IMB_MGR *mgr, const uint8_t key[16], uint8_t *expanded)
{
	IMB_AES128_GCM_PRE(mgr, key, (struct gcm_key_data *)expanded);
}
