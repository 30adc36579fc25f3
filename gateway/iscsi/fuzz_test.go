// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

var fuzzMemory = sync.OnceValues(func() (*backends.Memory, error) { return backends.NewMemory(fuzzDisk) })

// fuzzPlayer starts a target for one input, with CHAP or not.
func fuzzPlayer(t *testing.T, chap bool) *player {
	disk, err := fuzzMemory()
	if err != nil {
		t.Fatal(err)
	}
	return play(t, disk, chap, Config{
		MaxRecvDataSegmentLength: 8192, MaxBurstLength: 8192, FirstBurstLength: 4096, QueueDepth: 16, TaskTimeout: 30 * time.Second,
	})
}

// FuzzLogin carries out logins, right ones and wrong ones, with CHAP or not; the first byte
// says how. After a login there may be more steps, as those of FuzzFullFeaturePhase.
func FuzzLogin(f *testing.F) {
	for _, how := range []byte{0, loginCHAP, loginCHAP | loginMutual, loginCHAP | loginWrong, loginHeader | loginData, loginDiscovery, loginShort | loginR2T} {
		f.Add([]byte{how, 0, 0, 0, 0, 0, 0, 0, 0, stepPing, 1, stepText, 0, 0, stepSync})
		f.Add([]byte{how, loginSplit, 0, 20, loginSplit | howCut, 0, 90, 0, 7, loginSplit, 0, 3, loginHonest, 0})
	}
	named := func(csg, nsg wire.Stage) byte { return 0x21 | byte(csg)<<1 | byte(nsg)<<3 }
	for _, in := range [][]byte{
		{0, loginNamed, named(1, 3), 2, 9, 15, 15, 20, stepPing, 9, stepSync}, // digests, MaxBurstLength
		{0, loginNamed, named(0, 3), 1, 3, 6},
		{loginCHAP, loginNamed, named(1, 3), 0},
		{0, loginKeyed, named(1, 3), 1, 0, 0},
		{0, loginAdded, 0, 7, 11, 19, 16, 24, 23, 30, 24, 18, 26, 13, 31, 33, 14, 25},
		{loginCHAP, loginHonest, 0, loginAdded, 0, 1, 4, 7},
		{loginCHAP, loginHonest, 0, loginHonest, 0, loginAdded, 0, 2, 7, 12, 8, 35},
		{0, loginText, 0, 12, 'I', 'n', 'i', 't', 'i', 'a', 't', 'o', 'r', '=', 0, 0},
		{0, loginHonest, 0, loginOther, 0},
		{0, loginHonest | howMutated, 0, 1, 0x80},
		{0, loginHonest | howMutated, 0, 6, 0x40},
		{loginDiscovery, loginHonest, 0, loginHonest | howMutated, 0, 24, 0xc8, stepNumber, 0xfb, stepSync, 0xfe, 0x81},
		{0, loginBytes, 3, 1, 2, 3},
		{0, loginHonest, 0, loginHonest, 0, stepOther, 0},
	} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		defer guard()()
		m := program(in)
		p := fuzzPlayer(t, len(in) > 0 && in[0]&loginCHAP != 0)
		p.loose = true
		p.tryLogin(&m)
		p.close()
	})
}

// FuzzFullFeaturePhase logs in as it is right; the first byte says how. Then it carries out
// steps. When all of them were right every request has to be answered once.
func FuzzFullFeaturePhase(f *testing.F) {
	steps := [][]byte{
		{stepRead, 3, 8, 0, stepRead | howBack, 2, 40, 200, stepRead, 0, 1, 100, stepSync},
		{stepWrite, 3, 16, 0x12, stepDataOut, 0, stepDataOut, 1, stepRead, 3, 16, 0},
		{stepWrite | howBack, 2, 63, 0x00, stepWrite | howBack, 4, 40, 0x21, stepWrite, 6, 20, 0x38, stepDataOut, 2, stepDataOut | howCut, 0, 1, 3},
		{stepWrite, 2, 16, 1, stepDataOut, 4, stepWrite, 2, 16, 1, stepDataOut, 8, stepWrite, 2, 16, 1, stepDataOut, 12},
		{stepWrite, 2, 16, 1, stepDataOut, 16, stepWrite, 2, 16, 1, stepDataOut, 20, stepWrite, 2, 16, 1, stepDataOut, 24, stepSync},
		{stepCDB, 0x16, 0x12, 1, 0, 0, 255, 0, 0, 4, 0, stepCDB, 0x10, 0x25, 2, 0, stepCDB, 0x1f, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 1, 0},
		{stepDisk, 0, stepWrite, 2, 4, 15, stepRead, 2, 4, 0, stepManage | howImmediate, 1, 1, stepManage, 2, 0, stepSync, stepDisk, 2, stepSync},
		{stepDisk, 0, stepWrite, 2, 4, 15, stepManage | howImmediate, 5, 0, stepManage | howImmediate, 6, 0, stepPing, 2},
		{stepDisk, 0, stepWrite, 2, 4, 15, stepWrite, 2, 4, 15, stepDisk, 5, stepManage | howImmediate, 4, 0, stepManage | howImmediate, 7, 0, stepSync},
		{stepNumber, 2, stepWrite, 3, 16, 0x12, stepManage | howImmediate, 1, 0, stepManage | howImmediate, 2, 0, stepRead, 1, 1, 0},
		{stepNumber, 4, stepRead, 3, 8, 0, stepPing, 3, stepText, 0, 0, stepWrite, 1, 2, 15, stepSync},
		{stepText, 7, 4, stepText, 7, 2, stepText, 4, 0, stepText, 3, 0, stepText, 5, 0, stepPing, 255, stepText, 0, 0, stepSync},
		{stepPing, 100, stepPing | howImmediate, 1, stepSNACK, 1, stepPong, stepAHS, 3, 0, stepAHS, 2, 9, stepLogout, 1, 1},
		{stepRead | howMutated, 1, 2, 0, 20, 3, stepWrite | howMutated, 0, 4, 8, 40, 1, stepRead | howMutated | howCut, 1, 2, 0, 9, 4, 0, 17, stepSync},
		{stepRaw, 4, 1, 2, 3, 4},
		{stepLogout, 0, 0},
		{stepLogout, 2, 0, stepOther, 1, stepOther, 0},
		{stepWrite | howImmediate, 1, 2, 15, stepRead | howImmediate | howBack, 1, 2, 0, stepCDB | howImmediate, 0, 0, 0, 1, stepSync},
	}
	for i, s := range steps {
		for _, how := range []byte{0, []byte{loginHeader, loginData | loginHeader, loginShort, loginR2T, loginShort | loginData | loginCHAP, loginDiscovery}[i%6]} {
			f.Add(append([]byte{how}, s...))
		}
	}
	f.Add([]byte{loginShort, stepRead, 3, 20, 0, stepPing, 200, stepSync})
	f.Fuzz(func(t *testing.T, in []byte) {
		defer guard()()
		m := program(in)
		how := m.byte() &^ loginWrong
		p := fuzzPlayer(t, how&loginCHAP != 0)
		if p.login(how) {
			p.loose = how&loginDiscovery != 0
			p.run(m)
			p.finish()
		}
		p.close()
	})
}
