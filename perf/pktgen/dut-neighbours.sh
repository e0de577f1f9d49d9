#!/bin/sh
# On the device under test: the generator's addresses, which it does not answer for itself, and the
# route to all care-of addresses. GENERATOR_MACS: those of its ports 0 and 1.
set -eu

# shellcheck disable=SC2086 # two words
set -- ${GENERATOR_MACS:?"the MAC addresses of the generator's ports 0 and 1"}
[ $# = 2 ] || { echo "GENERATOR_MACS holds two MAC addresses" >&2; exit 2; }

ip -6 neighbour replace 2001:db8:a::ff lladdr "$1" dev access nud permanent
ip -6 neighbour replace 2001:db8:f::c0 lladdr "$2" dev home nud permanent
ip -6 route replace 2001:db8:100::/40 via 2001:db8:a::ff dev access
