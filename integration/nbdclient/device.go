// SPDX-License-Identifier: Apache-2.0

package nbdclient

import "context"

func (c *Client) within() (context.Context, context.CancelFunc) {
	if c.timeout > 0 {
		return context.WithTimeout(context.Background(), c.timeout)
	}
	return context.Background(), func() {}
}

// ReadAt reads len(p) bytes at off in one request (io.ReaderAt). A failed
// read changes nothing in p.
func (c *Client) ReadAt(p []byte, off int64) (int, error) {
	ctx, cancel := c.within()
	defer cancel()
	data, err := c.Do(ctx, CmdRead, 0, uint64(off), uint32(len(p)), nil)
	return copy(p, data), err
}

// WriteAt writes p at off in one request (io.WriterAt). After an error the
// range may hold old data, new data, or some of each.
func (c *Client) WriteAt(p []byte, off int64) (int, error) { return c.write(p, off, 0) }

// WriteFUA is WriteAt with NBD_CMD_FLAG_FUA: on return without error the data
// is on stable storage.
func (c *Client) WriteFUA(p []byte, off int64) (int, error) { return c.write(p, off, FlagFUA) }

func (c *Client) write(p []byte, off int64, flags Flags) (int, error) {
	ctx, cancel := c.within()
	defer cancel()
	if _, err := c.Do(ctx, CmdWrite, flags, uint64(off), uint32(len(p)), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush sends NBD_CMD_FLUSH and waits for its reply.
func (c *Client) Flush() error {
	ctx, cancel := c.within()
	defer cancel()
	_, err := c.Do(ctx, CmdFlush, 0, 0, 0, nil)
	return err
}

// Trim sends NBD_CMD_TRIM for a range in bytes.
func (c *Client) Trim(ctx context.Context, off uint64, length uint32) error {
	_, err := c.Do(ctx, CmdTrim, 0, off, length, nil)
	return err
}

// WriteZeroes sends NBD_CMD_WRITE_ZEROES for a range in bytes; flags may be
// FlagNoHole, FlagFUA and FlagFastZero.
func (c *Client) WriteZeroes(ctx context.Context, flags Flags, off uint64, length uint32) error {
	_, err := c.Do(ctx, CmdWriteZeroes, flags, off, length, nil)
	return err
}
