// SPDX-License-Identifier: Apache-2.0

//go:build integration

package demo

import (
	"os"
	"testing"

	"pathgate/integration/gate"
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }
