// SPDX-License-Identifier: Apache-2.0

// Package deps holds no code: its tests are the rules of the source tree. They
// check who imports whom, that every package has a doc comment in a doc.go, and
// that each file begins with its licence.
//
// rules.txt names for each package what it may import of this module and from
// outside. users.txt lists who imports the modules that the project keeps an
// eye on; `go test ./integration/deps -update` writes it anew.
package deps
