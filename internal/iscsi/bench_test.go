// SPDX-License-Identifier: Apache-2.0

package iscsi

import "testing"

func BenchmarkSCSICommand(b *testing.B) {
	h := header(b, scsiCommandFixture)
	b.ReportAllocs()
	for b.Loop() {
		p, err := DecodeSCSICommand(&h)
		if err != nil {
			b.Fatal(err)
		}
		p.Encode(&h)
	}
}

func BenchmarkDataIn(b *testing.B) {
	h := header(b, dataInFixture)
	b.ReportAllocs()
	for b.Loop() {
		p, err := DecodeDataIn(&h)
		if err != nil {
			b.Fatal(err)
		}
		p.Encode(&h)
	}
}

func BenchmarkCRC32C64K(b *testing.B) {
	data := make([]byte, 65536)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var c CRC32C
	for b.Loop() {
		c = c.Update(data)
	}
}
