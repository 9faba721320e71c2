// Package nftables writes the shares of Services as nftables rules, so that the kernel divides their
// connections.
//
// Its main type is [Writer]. It owns one table of one address family and leaves every other table alone. Each
// change is one atomic transaction that holds only what changed; established connections keep their endpoint.
// [Script] prints the same rules without applying them. Applying needs the nft program, CAP_NET_ADMIN and
// Linux 5.6 or later.
package nftables
