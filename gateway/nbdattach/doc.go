// SPDX-License-Identifier: Apache-2.0

// Package nbdattach makes an export a block device of this host: it negotiates with
// the NBD server, hands the sockets to the kernel's nbd driver (drivers/block/nbd.c) by
// generic netlink, and keeps the device alive.
//
//	d, err := nbdattach.Attach(ctx, nbdattach.Config{Addresses: ..., Export: "vm1/root", Index: 0})
//	err = d.Supervise(ctx) // until the device is detached, or ctx ends
//	err = d.Detach(false)
//
// # What is negotiated
//
// GO with the block size constraints, over several connections when the server
// promises that a flush on one holds for all (CAN_MULTI_CONN). Nothing that changes the
// shape of replies: the driver knows simple replies alone. The server's transmission
// flags go to the driver as they are; it takes those that it knows (FLUSH, FUA, TRIM,
// READ_ONLY, CAN_MULTI_CONN; ROTATIONAL and WRITE_ZEROES since Linux 6.12 and 6.11) and
// leaves the others alone.
//
// # What the kernel does when a connection is lost
//
// It tells by the multicast group nbd_mc_group (LINK_DEAD), and uses the other
// connections; with none it waits for Config.DeadTimeout. What had been sent on the lost
// one is sent again over another once Config.Timeout has passed since it was sent, no
// earlier. Supervise negotiates anew and gives the driver the socket by RECONFIGURE. The
// driver takes it for a dead connection, or not at all, without a word: that it was
// taken shows in the send timeout that it sets on the socket.
//
// # TLS
//
// The driver speaks none. With Config.TLS it gets one end of a socket pair for each
// connection, and two goroutines copy between the other end and the TLS connection
// (relay.go), until either ends. Those connections end with this process, others do not.
//
// # Who may
//
// The driver wants CAP_SYS_ADMIN in the first user namespace, and is there in the first
// network namespace alone. One process looks after a device: it holds an
// abstract unix socket named after it.
package nbdattach
